"""The database: the interface of backends (`protocol`), drivers, and the SQL that they share."""
