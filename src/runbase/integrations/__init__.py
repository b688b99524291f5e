"""What runbase does for other tools, one folder a tool: readers of their records, storages, loggers, interfaces."""
