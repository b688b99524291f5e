"""Weights & Biases: the reader of its offline runs."""
