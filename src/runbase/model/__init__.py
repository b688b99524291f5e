"""The records and points that a store hands out: frozen, plain, without a way back to the database."""

from runbase.model.points import Envelope, Scalar, Series
from runbase.model.records import (
    RUN_FIELDS,
    Ancestor,
    Artifact,
    Change,
    Experiment,
    Link,
    Metric,
    Objective,
    Run,
    Use,
)
from runbase.model.shown import Shown

__all__ = [
    "Ancestor",
    "Artifact",
    "Change",
    "Envelope",
    "Experiment",
    "Link",
    "Metric",
    "Objective",
    "RUN_FIELDS",
    "Run",
    "Scalar",
    "Series",
    "Shown",
    "Use",
]
