"""Tables: the reader of CSV, JSON Lines and Parquet files."""
