"""SQLite: the driver."""
