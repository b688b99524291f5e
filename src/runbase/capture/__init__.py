"""Facts about where a run comes from and what it runs on. Each part may fail alone, and quietly."""

from runbase.capture.facts import PARTS, capture

__all__ = ["PARTS", "capture"]
