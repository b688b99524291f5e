"""Values that a database cannot store, and texts of any content."""

# pyright: basic
import math
import random
from typing import Any

import pytest

from runbase.events import (
    ArtifactLogged,
    Captured,
    Ended,
    Noted,
    Params,
    Points,
    RecordLogged,
    Tags,
)
from runbase.status import Status
from runbase.storage.protocol import Storage
from runbase.storage.types import Query
from runbase.testing.contract.base import OnStorage
from runbase.testing.contract.journal import T0, Journal, points

RANDOM_TEXT = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
"""A text that no database can make shorter."""


class OddValueContract(OnStorage):
    """Apply deliveries of which a part cannot be stored."""

    @pytest.mark.parametrize(
        "odd",
        [
            Points(keys=("a",), steps=[1], times=[T0], columns=[["text"]]),  # type: ignore
            Points(keys=("a",), steps=[1], times=[1e300], columns=[[1.0]]),
            Points(keys=("a",), steps=[1], times=[math.nan], columns=[[1.0]]),
            Points(keys=("a",), steps=[2**63], times=[T0], columns=[[1.0]]),
            Points(keys=("a",), steps=[math.inf], times=[T0], columns=[[1.0]]),
            Points(keys=("a",), steps=[1], times=[T0], columns=[[10**400]]),
            Noted(time=1e18, text="far away"),
            Noted(time=math.nan, text="nowhen"),
            Ended(time=T0, status=Status.FAILED, exit_code=2**40),
            Ended(time=T0, status="NO_SUCH"),  # type: ignore[arg-type]
            RecordLogged(time=T0, key="r", kind="json", step=2**80, value=1),
            ArtifactLogged(time=T0, path="p", kind="file", uri="p", size=2**70),
        ],
        ids=repr,
    )
    def test_an_odd_event_keeps_nothing_else_out(self, storage: Storage, odd: Any) -> None:
        good, bad = Journal(storage), Journal(storage)
        around = [Params(time=T0, values={"lr": 0.1}), points([1.0, 2.0]), odd]
        applied = storage.apply(
            [
                good.delivery([good.opened(), points([1.0])]),
                bad.delivery([bad.opened(), *around, points([3.0], first=2)]),
            ]
        )
        assert [one.taken for one in applied] == [True, True]
        assert [len(one.problems) for one in applied] == [0, 1]
        assert storage.series(good.run, "loss").values.tolist() == [1.0]
        assert storage.series(bad.run, "loss").values.tolist() == [1.0, 2.0, 3.0]
        (run,) = storage.get_runs([bad.run])
        assert (run.params, run.status) == ({"lr": 0.1}, Status.PENDING)
        ((about, problem),) = storage.problems(bad.run)
        assert about == bad.run
        assert "cannot be stored" in problem.reason
        assert [about for about, _ in storage.problems()] == [bad.run]
        assert storage.problems(good.run) == []
        assert storage.totals()["problems"] == 1
        assert storage.check() == []

    def test_of_points_with_an_odd_one_the_others_come_in(self, storage: Storage) -> None:
        journal = Journal(storage)
        columns: Any = [[1.0] * 9, [float(n) for n in range(9)]]
        columns[0][4] = "text"
        times = [T0 + n for n in range(9)]
        times[7] = math.inf
        journal.write(Points(keys=("a", "b"), steps=[*range(9)], times=times, columns=columns))
        assert storage.series(journal.run, "a").steps.tolist() == [0, 1, 2, 3, 5, 6, 8]
        assert storage.series(journal.run, "b").steps.tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
        assert len(storage.problems(journal.run)) == 3

    def test_of_values_with_an_odd_one_the_others_come_in(self, storage: Storage) -> None:
        journal = Journal(storage)
        values = {"a": 1, "odd": object(), "b": 2}
        journal.write(Params(time=T0, values=values))
        (run,) = storage.get_runs([journal.run])
        assert run.params == {"a": 1, "b": 2}
        assert len(storage.problems(journal.run)) == 1

    def test_an_odd_first_event_is_mended(self, storage: Storage) -> None:
        journal = Journal(storage, time=math.nan, attempt=2**80)
        assert journal.write(points([1.0]))
        assert storage.series(journal.run, "loss").values.tolist() == [1.0]

    @pytest.mark.parametrize(
        "text",
        ["x" * 9000, RANDOM_TEXT, "nul\0inside", "lone \udc80 surrogate", "", "ünï ☃ 𝄞"],
        ids=["long", "random", "nul", "surrogate", "empty", "unicode"],
    )
    def test_any_text_is_stored_and_found(self, storage: Storage, text: str) -> None:
        from runbase.values import plain_text

        plain = plain_text(text)
        name = text or "a-run-1"
        journal = Journal(storage, name=name, experiment=name)
        journal.write(
            Params(time=T0, values={text: 1, "value": text}),
            Tags(time=T0, set={text: "1", "value": text}),
            Noted(time=T0, text=text),
            Captured(time=T0, git={"commit": text}, args={text: text}),
            points([1.0, 2.0], key=text),
            RecordLogged(time=T0, key=text, kind="text", step=0, value=text),
        )
        storage.put_attributes("run", journal.run, "user", {text: text})
        assert storage.problems(journal.run) == []
        (run,) = storage.get_runs([journal.run])
        assert run.name == plain_text(name)
        assert run.params == {plain: 1, "value": plain}
        assert run.tags == {plain: "1", "value": plain}
        assert run.notes == plain
        assert run.git == {"commit": plain}
        assert list(run.metrics) == [plain]
        assert storage.series(journal.run, text).values.tolist() == [1.0, 2.0]
        found = storage.attributes("run", [journal.run], "user")
        assert found == {journal.run: {plain: plain}}
        assert storage.find_run(name) == journal.run
        assert storage.get_experiments([storage.find_experiment(name)])[0].runs == 1
        if text and "\0" not in text and text.isascii():
            for where in (
                f'params."{text}" = 1',
                f'metrics."{text}" = 2',
                f"tags.value = '{text}'",
            ):
                assert [found.id for found in storage.runs(Query(where=where))] == [journal.run]
