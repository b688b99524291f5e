"""From journals, run folders and the records of other tools into a store."""
