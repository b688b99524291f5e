"""GoodSeed: the reader of its SQLite files."""
