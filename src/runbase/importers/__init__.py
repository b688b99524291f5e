"""Records that other systems keep, brought into a store: one module a system, incremental, nothing twice.

An importer is a module with `recognises(source)`, `count(source)` and `runs(asked)`, which gives `Foreign` runs; `take` does the rest.
"""

from runbase.importers.base import Foreign
from runbase.importers.sources import SYSTEMS, import_from, importer_for
from runbase.importers.taking import Imported, take

__all__ = ["SYSTEMS", "Foreign", "Imported", "import_from", "importer_for", "take"]
