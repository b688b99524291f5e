"""Suites that need an environment of their own: or much time: see `make test-mlos`, `make test-frameworks`, `make test-load`."""
