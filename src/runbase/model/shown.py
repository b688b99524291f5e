"""What notebooks display."""

from collections.abc import Callable
from typing import Any, ClassVar


class Shown:
    """An object with a view in notebooks, which `runbase.analysis.views` makes."""

    __slots__ = ()
    views: ClassVar[dict[str, Callable[[Any], str]]] = {}
    """Name of the class → a function that returns HTML."""

    def _repr_html_(self) -> str | None:
        for kind in type(self).__mro__:
            if kind.__name__ in Shown.views:
                return Shown.views[kind.__name__](self)
        return None
