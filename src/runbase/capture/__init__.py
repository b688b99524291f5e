"""Facts about a run's code and machine. A part that fails does not affect the others or the run."""

from runbase.capture.facts import PARTS, capture

__all__ = ["PARTS", "capture"]
