"""The database: what every backend promises (`protocol`), drivers, and the SQL they share."""
