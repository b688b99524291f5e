"""The store API: read and change recorded runs (`Store`, `open`, `open_registry`)."""
