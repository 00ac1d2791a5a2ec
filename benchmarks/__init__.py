"""Measurements, each a script of its own; none of them runs in the test-suite."""
