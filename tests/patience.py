"""How long tests wait for something that is sure to happen."""

PATIENCE = 900.0
"""Seconds, on a machine that twenty processes share: a bound for what hangs, and no measure of speed."""
