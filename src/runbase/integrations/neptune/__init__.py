"""Neptune: the reader of its Parquet export."""
