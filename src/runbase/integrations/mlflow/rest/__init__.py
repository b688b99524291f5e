"""MLflow's tracking API over a store: unmodified MLflow clients log to it and read from it.

`routes` makes the HTTP routes, `endpoints` lists which function answers which path. The functions take a `Call` and return
the fields of the answer. Observations are stored through `Storage.apply`, see `deliveries`.
"""
