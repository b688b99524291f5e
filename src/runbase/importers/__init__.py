"""Records that other systems keep, brought into a store: one module a system, incremental, nothing twice.

An importer is a module with `recognises(source)` and `runs(source)`, which gives `Foreign` runs; `take` does the rest.
"""

from runbase.importers.base import Foreign, Imported, take
from runbase.importers.sources import import_from, importer_for

__all__ = ["Foreign", "Imported", "import_from", "importer_for", "take"]
