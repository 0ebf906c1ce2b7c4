"""Writes a table with numbers, a category, a group and an empty column, and a scikit-learn model trained on it."""

import numpy as np
import pandas as pd
import skops.io
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

KEPT = ["mean radius", "mean texture", "mean smoothness", "worst radius", "worst concavity"]


def table():
    """The breast-cancer measurements with what a real table has beside them: where, who and a sum of columns."""
    data = load_breast_cancer(as_frame=True)
    rng = np.random.default_rng(0)
    frame = data.frame[KEPT].copy()
    frame["hospital"] = rng.choice(["north", "south", "west"], len(frame))
    frame["age_band"] = rng.choice(["under 50", "50 and over"], len(frame))
    frame["diagnosis"] = data.target_names[data.target]
    return frame


def main():
    """Write train.csv, test.csv and model.skops."""
    whole = table()
    train, test = train_test_split(whole, test_size=0.4, stratify=whole["diagnosis"], random_state=0)
    train.to_csv("train.csv", index=False)
    test.to_csv("test.csv", index=False)
    x = pd.concat([train[KEPT], pd.get_dummies(train["hospital"]).astype(float)], axis=1)
    y = (train["diagnosis"] == "benign").astype(int)
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0).fit(x.to_numpy(np.float32), y)
    skops.io.dump(forest, "model.skops")


if __name__ == "__main__":
    main()
