"""Deployment variants of a network: quantised, pruned and lowered copies that are audited like any subject."""
