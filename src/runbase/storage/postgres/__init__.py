"""PostgreSQL: the driver, and how values become its types."""
