"""PostgreSQL: the driver, and the conversion of values to its types."""
