"""Poisoned training data: what a share of bad labels or rows does to the model."""
