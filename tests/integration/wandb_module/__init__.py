"""`runbase.wandb`, read back from the store."""
