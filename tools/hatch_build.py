"""Build hook: a wheel or source distribution carries the built page; an editable installation does not build it."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the page before files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page if it is missing or old."""
        if version == "editable":
            return
        import build_page

        build_page.build()
        build_data["artifacts"].append("src/runbase/server/static/**")
