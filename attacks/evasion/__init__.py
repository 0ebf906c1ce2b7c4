"""Adversarial examples: how far inputs must move before the answer changes."""
