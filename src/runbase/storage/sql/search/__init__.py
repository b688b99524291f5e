"""Search: compile filters and sort keys to SQL, and load the matching records."""
