"""Integrations, one folder per tool: readers of its records, storages, loggers and compatible interfaces."""
