"""Unusual inputs: whether the model can tell what it was not trained for."""
