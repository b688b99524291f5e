"""Integrations, one module or folder a tool: adapters, readers of records, storages, compatible interfaces."""
