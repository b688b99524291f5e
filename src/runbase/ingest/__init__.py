"""Ingest journals, run folders and other tools' records into a database."""
