"""Preflight alone: data and models are looked at, and nothing is attacked."""
