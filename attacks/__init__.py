"""Probes with an adversary or the unusual: evasion, poisoning, backdoors, out-of-distribution inputs, privacy."""
