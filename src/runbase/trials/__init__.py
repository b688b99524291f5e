"""Trials: the queue of an experiment, claims, the worker, samplers, and the analysis of results."""
