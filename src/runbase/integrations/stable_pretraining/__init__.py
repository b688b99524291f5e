"""stable-pretraining."""
