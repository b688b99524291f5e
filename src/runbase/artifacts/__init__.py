"""Files of runs: copied into the run's folder, uploaded, and read from known folders."""
