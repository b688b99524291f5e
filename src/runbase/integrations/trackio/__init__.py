"""Trackio: the reader of its databases."""
