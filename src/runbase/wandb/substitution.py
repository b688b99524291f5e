"""`substitute`: answer for the package `wandb`, so that tools which import it use this module.

Tools look for W&B in three ways: they import `wandb` and its modules, they ask `importlib.util.find_spec("wandb")`, and
they ask `importlib.metadata.version("wandb")`. All of them find this module, whether W&B is installed or not.
"""

import sys
from collections.abc import Iterable, Sequence
from email.message import Message
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

from runbase.wandb.terms import warn_once

NAME, OWN = "wandb", "runbase.wandb"
VERSION = "0.31.0"
"""The version of W&B whose interface this module has."""


class _Distribution(Distribution):
    """Tells the version of the interface to `importlib.metadata`."""

    def read_text(self, filename: str) -> str | None:
        message = Message()
        message["Metadata-Version"] = "2.1"
        message["Name"], message["Version"] = NAME, VERSION
        message["Summary"] = "The interface of W&B on runbase"
        return str(message) if filename in ("METADATA", "PKG-INFO") else None

    def locate_file(self, path: "str | PathLike[str]") -> Any:
        return Path(__file__).parent / path


class _SameModule(Loader):
    """Loads a module of `wandb`: the module of this package itself."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has replaced it


class Finder(DistributionFinder, MetaPathFinder):
    """Finds the modules and the metadata of `wandb`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to import a module of `wandb`; None for other modules, and for those that do not exist."""
        del path, target
        if fullname != NAME and not fullname.startswith(f"{NAME}."):
            return None
        own = OWN + fullname.removeprefix(NAME)
        try:
            module = import_module(own)
        except ModuleNotFoundError as error:
            if error.name == own:
                raise ModuleNotFoundError(
                    f"{fullname} is not a part of W&B that runbase.wandb has", name=fullname
                ) from None
            raise
        return ModuleSpec(fullname, _SameModule(module), is_package=hasattr(module, "__path__"))

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        """Return the metadata of `wandb`."""
        name = getattr(context, "name", None)
        return [_Distribution()] if name is None or name.lower() == NAME else []

    def invalidate_caches(self) -> None:
        """Do nothing."""


def substitute() -> None:
    """Answer for the package `wandb` in this process, whether it is installed or not.

    Call it before anything imports `wandb`. A second call does nothing.
    """
    own = import_module(OWN)
    imported = sys.modules.get(NAME)
    if imported is own:
        return
    if imported is not None:
        warn_once(
            "substitute() was called after wandb was imported; modules that have imported it still use it. "
            "Call substitute() first"
        )
        for name in [*sys.modules]:
            if name == NAME or name.startswith(f"{NAME}."):
                del sys.modules[name]
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
    for name, module in [*sys.modules.items()]:
        if name == OWN or name.startswith(f"{OWN}."):
            sys.modules[NAME + name.removeprefix(OWN)] = module
