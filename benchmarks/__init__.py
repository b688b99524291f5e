"""One command, one table: `python -m benchmarks [--peers] [--quick] [--markdown]`."""
