"""Start workers of an experiment on this machine, on Slurm, on Ray or on Kubernetes. `launch.start` is the entry."""
