"""A storage behind a runbase server."""
