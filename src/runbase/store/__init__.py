"""The store that people and programs read and change: `Store`, `open`, `open_registry`."""
