"""The run that training code writes: `start_run`, `Run`, what happens in the background and at the end."""
