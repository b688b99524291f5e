"""What optimizers and people learn from trials: warm-up, ranking, repeated measurements. No I/O."""
