"""Small changes of a run or an experiment by name: tags, notes, names, links."""

from collections.abc import Mapping

from runbase.errors import UsageError
from runbase.store.base import StoreBase
from runbase.typing import JsonObject, Subject
from runbase.values import as_tags


class LabelMethods(StoreBase):
    """Tags, notes, names and links of runs and experiments."""

    def tag(self, target: Subject, *tags: str | Mapping[str, object], **more: object) -> None:
        """Add tags to a run or an experiment, plain or with values: `tag(x, "vit", stage="test")`."""
        kind, key = self._target(target)
        added: JsonObject = {**as_tags(list(tags) if tags else None), **more}
        self.storage.add(kind, key, {"tags": added})

    def untag(self, target: Subject, *keys: str) -> None:
        """Remove tags from a run or an experiment."""
        kind, key = self._target(target)
        self.storage.remove(kind, key, {"tags": list(keys)})

    def note(self, target: Subject, text: str, *, append: bool = False) -> None:
        """Set the notes of a run or an experiment. An empty text clears them.

        Args:
            target: the run or experiment.
            text: the notes.
            append: add the text as a further line, instead of replacing the notes.
        """
        kind, key = self._target(target)
        if append:
            records = (
                self.storage.get_runs([key])
                if kind == "run"
                else self.storage.get_experiments([key])
            )
            before = records[0].notes if records else ""
            text = f"{before}\n{text}" if before else text
        self.storage.update(kind, key, {"notes": text})

    def rename(self, target: Subject, name: str) -> None:
        """Rename a run or an experiment. Its id does not change."""
        kind, key = self._target(target)
        self.storage.update(kind, key, {"name": name})

    def link(self, source: Subject, kind: str, target: Subject) -> None:
        """Add a link from one run to another, or from one experiment to another.

        Args:
            source: the run or experiment that the link starts from.
            kind: the meaning of the link, a name of your choice.
            target: the run or experiment that it points to.

        Raises:
            UsageError: one is a run and the other an experiment.
        """
        what, from_id = self._target(source)
        other, to_id = self._target(target)
        if what != other:
            raise UsageError(
                "cannot link a run and an experiment; pass two runs or two experiments"
            )
        self.storage.link(what, from_id, kind, to_id)

    def unlink(self, source: Subject, target: Subject, kind: str | None = None) -> int:
        """Remove the links between two runs or experiments, of one kind or all; return how many."""
        what, from_id = self._target(source)
        return self.storage.unlink(what, from_id, kind, self._target(target)[1])
