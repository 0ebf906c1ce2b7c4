"""Adapters that make a model a subject, and the one door for model files."""
