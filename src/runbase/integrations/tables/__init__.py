"""Tables: CSV, JSON Lines, Parquet."""
