"""Leaked training records: what the model tells of the rows it was trained on."""
