"""Backdoors: whether a trigger planted in the training data is learned."""
