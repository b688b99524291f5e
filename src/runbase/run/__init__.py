"""The run object used in training code: `start_run`, `Run`, the background thread and the exit hooks."""
