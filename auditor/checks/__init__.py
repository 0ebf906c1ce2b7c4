"""Probes without an adversary: accuracy and calibration."""
