"""Suites that need an environment of their own: see `make test-mlos`, `make test-frameworks`."""
