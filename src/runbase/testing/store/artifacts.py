"""Artifacts: versions, uses and checkpoints."""

# pyright: basic
from typing import Any

import pytest

from runbase.errors import NotFound
from runbase.events import ArtifactLogged, ArtifactUsed
from runbase.testing.contract import T0, Journal
from runbase.testing.store.base import OnStore


class ArtifactContract(OnStore):
    """Version artifacts, and find the best checkpoint."""

    def test_versions_and_uses(self, store: Any) -> None:
        def artifact(path: str, sha: str, time: float, **more: Any) -> ArtifactLogged:
            return ArtifactLogged(
                path=path, kind="model", uri=path, size=1, sha256=sha, time=time, name="net", **more
            )

        first, second = Journal(self.storage(store)), Journal(self.storage(store))
        first.write(artifact("a.pt", "11", T0))
        second.write(
            artifact("b.pt", "22", T0 + 1), ArtifactUsed(owner=first.run, path="a.pt", time=T0)
        )
        second.write(artifact("c.pt", "11", T0 + 2))
        assert [(a.path, a.version) for a in store.artifact_versions("net")] == [
            ("a.pt", 1),
            ("c.pt", 1),
            ("b.pt", 2),
        ]
        assert [(u.run_id, u.owner_id) for u in store.uses(first.run)] == [(second.run, first.run)]
        assert store.count('artifacts."a.pt".kind = \'model\' and artifacts."a.pt".size = 1') == 1
        with pytest.raises(NotFound, match="did you mean 'net'"):
            store.artifact_versions("nett")

    def test_the_best_checkpoint(self, store: Any) -> None:
        run = self.logged(store, values=[1.0], experiment="c")
        for step in (1, 2):
            Journal(self.storage(store), run).write(
                ArtifactLogged(
                    path=f"{step}.pt", kind="checkpoint", uri="x", size=1, step=step, time=T0
                )
            )
        assert store.best_checkpoint("c", "loss").path == "2.pt"
        store.update_run(run, checkpoint="1.pt")
        assert store.best_checkpoint("c", "loss").path == "1.pt"
