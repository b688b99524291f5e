"""stable-pretraining: the reader of its run folders."""
