"""A lake read by Spark: `make test-spark`."""
