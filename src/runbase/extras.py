"""Optional packages: imported when they are needed; a missing one is an error that says what to install."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from runbase.errors import MissingPackage

NAMES = {
    "fsspec": "fsspec",
    "matplotlib": "Matplotlib",
    "pandas": "pandas",
    "PIL": "Pillow",
    "polars": "Polars",
    "pyarrow": "PyArrow",
    "scipy": "SciPy",
    "textual": "Textual",
    "yaml": "PyYAML",
}
"""What people call a package, by the name that is imported."""


def load(module: str, extra: str, what: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: the module.
        extra: the extra of runbase that installs it.
        what: what needs it, as the subject of a sentence.

    Raises:
        MissingPackage: the package is not installed.
    """
    root = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        if find_spec(root) is not None:  # it is there, and broken
            raise
        raise missing(what, NAMES.get(root, root), extra) from error


def missing(what: str, package: str, extra: str) -> MissingPackage:
    """Return the error for a package that is not installed."""
    return MissingPackage(f"{what} needs {package}: pip install 'runbase[{extra}]'")
