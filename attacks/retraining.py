"""The clean model that retrained ones are compared with, and whether the recipe makes the subject's like."""

from auditor.dataset import Labels
from auditor.probe import Case, Setting
from auditor.recipe import Fit
from auditor.record import Caveat
from auditor.subject import Subject

CLEAN = "clean"
FAR = 0.03  # of accuracy: more, and the recipe is not how the subject was made


def clean_fit(setting: Setting) -> dict[str, Fit]:
    """The subject's recipe on the unchanged rows: the subject itself, where it was trained here."""
    return {} if setting.recipe is None else {CLEAN: Fit(recipe=setting.recipe)}


def clean_model(case: Case) -> Subject:
    """The model of `clean_fit`."""
    return case.model(CLEAN)


def likeness(case: Case, subject: Labels, clean: Labels) -> list[Caveat]:
    """Does the recipe give a model as accurate as the subject? Predictions (N,) of both on the test rows.

    If not, what retrainings show is how such a training fails, and says little of the file under audit.
    """
    y = case.data.y_test
    ours, theirs = float((subject == y).mean()), float((clean == y).mean())
    if abs(ours - theirs) <= FAR:
        return []
    told = f"{case.of} is right on {ours:.1%} of the test rows, what its recipe trains on {theirs:.1%}: "
    told += "the numbers are of the recipe's models, and the recipe is not how this one was made"
    return [Caveat(flag="recipe_mismatch", severity="suspicious", evidence=told)]
