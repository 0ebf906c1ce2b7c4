"""Looks: a record and its findings, rendered for people and for tools."""
