"""DVCLive: the reader of its folders."""
