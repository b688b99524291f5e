"""Run folders of any kind, scanned into a store. Nothing is written to them."""

from runbase.registry.scan import ScanReport, scan

__all__ = ["ScanReport", "scan"]
