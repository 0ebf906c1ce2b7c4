"""Probes of a third party: one good, the others broken in every way a probe can be."""
