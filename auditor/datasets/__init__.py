"""Data sets: built in and from files."""
