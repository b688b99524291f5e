"""Run folders of any kind, scanned into a store. Nothing is written to them."""

from runbase.registry.scan import ScanReport, has_runs, scan

__all__ = ["ScanReport", "has_runs", "scan"]
