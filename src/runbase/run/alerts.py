"""`Run.alert`: alerts that training code raises."""

import time

from runbase.errors import UsageError
from runbase.events import LEVELS, Alerted, Level
from runbase.ids import new_id
from runbase.run.base import Recorder
from runbase.values import to_text

_WORDS = {"warn": "warning", "err": "error"}


class AlertLog(Recorder):
    """The alerts of a run."""

    _alerted: dict[str, float]

    def alert(
        self, title: str, text: str = "", level: Level | str = "info", *, wait: float = 0.0
    ) -> None:
        """Raise an alert about this run.

        `runbase show`, `runbase alerts` and `store.alerts` list it. A rule without a filter delivers it, by
        webhook or e-mail; see `runbase alerts add`.

        Args:
            title: what happened, in a few words.
            text: the details.
            level: info, warning (or warn) or error, in upper or lower case.
            wait: drop the alert if this run raised one with the same title less than so many seconds ago.

        Raises:
            UsageError: the level is not known, or the title is empty.
            RunFinished: the run has ended.
        """
        heading = to_text(title).strip()
        if not heading:
            raise UsageError("an alert needs a title")
        word = str(getattr(level, "value", level)).lower()
        word = _WORDS.get(word, word)
        if word not in LEVELS:
            raise UsageError(f"{level!r} is not a level of alerts; use {', '.join(LEVELS)}")
        now = time.monotonic()
        last = self._alerted.get(heading)
        if last is not None and now - last < wait:
            return
        event = Alerted(
            time=time.time(),
            id=new_id(),
            title=heading,
            text=to_text(text),
            level=word,
        )
        self._append(event)
        self._alerted[heading] = now
