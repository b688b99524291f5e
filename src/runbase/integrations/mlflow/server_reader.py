"""A running MLflow server, over its REST interface (`/api/2.0/mlflow`). MLflow need not be installed.

Credentials come from the address, or from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
MLFLOW_TRACKING_TOKEN, as MLflow's own clients take them. The points of a metric whose last one is here are not asked
for again.
"""

import base64
import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from runbase.errors import StoreUnavailable
from runbase.ingest.foreign import ImportedExperiment, ImportedRun, ImportRequest
from runbase.integrations.mlflow.reader import about_experiment, artifacts_at, foreign
from runbase.model import Run

NAME = "mlflow"
_PAGE = 200
_POINTS = 25_000
"""Points asked for at once: MLflow's own greatest page."""
_TIMEOUT = 60.0


def recognises(source: str) -> bool:
    """Whether it is the address of a server that answers as MLflow's."""
    if not source.startswith(("http://", "https://")):
        return False
    try:
        _Server(source).experiments()
    except StoreUnavailable:
        return False
    return True


def count(source: str) -> int:
    """How many runs there are: not known before they are listed."""
    del source
    return 0


def experiments(source: str) -> list[ImportedExperiment]:
    """Experiments with their tags, descriptions and times."""
    found: list[ImportedExperiment] = []
    for one in _Server(source).experiments():
        tags: list[dict[str, Any]] = one.get("tags") or []
        told = about_experiment(
            str(one["experiment_id"]),
            one.get("name"),
            one.get("lifecycle_stage"),
            one.get("creation_time"),
            one.get("last_update_time"),
            {str(tag["key"]): tag.get("value", "") for tag in tags},
        )
        if told is not None:
            found.append(told)
    return found


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Every run, by experiment; those that cannot be read are named in `asked.problems`."""
    server = _Server(asked.source)
    for experiment in server.experiments():
        name = str(experiment["name"])
        trashed = experiment.get("lifecycle_stage") == "deleted"
        for page in server.runs(str(experiment["experiment_id"])):
            known = asked.known([str(told["info"]["run_id"]) for told in page])
            for told in page:
                run = str(told["info"]["run_id"])
                try:
                    found = _run(server, told, name, known.get(run))
                except (StoreUnavailable, ValueError, KeyError) as wrong:
                    asked.problems.append(f"run {run}: {wrong}")
                    continue
                found.deleted = found.deleted or trashed
                yield found


def _run(
    server: "_Server", told: Mapping[str, Any], experiment: str, known: Run | None
) -> ImportedRun:
    info: dict[str, Any] = told["info"]
    data: dict[str, list[dict[str, Any]]] = told.get("data") or {}
    settled = _is_settled(info, known)
    metrics = {
        str(one["key"]): server.history(str(info["run_id"]), str(one["key"]))
        for one in data.get("metrics") or []
        if not (settled and _as_before(one, known))
    }
    return foreign(
        info,
        experiment,
        word=str(info.get("status") or "RUNNING"),
        params={str(p["key"]): str(p.get("value", "")) for p in data.get("params") or []},
        tags={str(t["key"]): str(t.get("value", "")) for t in data.get("tags") or []},
        metrics=metrics,
        artifacts=artifacts_at(
            str(info.get("artifact_uri") or ""),
            None,
            str(info.get("run_id") or info.get("run_uuid")),
        ),
        datasets=_datasets(told),
    )


def _datasets(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The datasets that a run used, each with its context."""
    inputs: dict[str, Any] = told.get("inputs") or {}
    used: list[dict[str, Any]] = inputs.get("dataset_inputs") or []
    found: list[dict[str, Any]] = []
    for one in used:
        tags: list[dict[str, Any]] = one.get("tags") or []
        contexts = [tag.get("value") for tag in tags if tag.get("key") == "mlflow.data.context"]
        found.append({**one["dataset"], "context": contexts[0] if contexts else None})
    return found


def _is_settled(info: Mapping[str, Any], known: Run | None) -> bool:
    """Whether a run had ended by the last import, and has not been continued since."""
    end = info.get("end_time")
    if known is None or known.ended_at is None or not end:
        return False
    return abs(known.ended_at.timestamp() - int(end) / 1000) < 0.001


def _as_before(told: Mapping[str, Any], known: Run | None) -> bool:
    """Whether a metric's last point is the one that is here."""
    metric = None if known is None else known.metrics.get(str(told["key"]))
    if metric is None or metric.last is None or metric.last_time is None:
        return False
    figure = _figure(told.get("value"))
    same = figure == metric.last or (math.isnan(figure) and math.isnan(metric.last))
    when = int(told.get("timestamp") or 0)
    return (
        same
        and int(told.get("step") or 0) == metric.last_step
        and when == round(metric.last_time.timestamp() * 1000)
    )


class _Server:
    """The REST interface."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        user = parts.username or os.environ.get("MLFLOW_TRACKING_USERNAME")
        password = parts.password or os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        host = parts.hostname or ""
        host = f"{host}:{parts.port}" if parts.port else host
        self._base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._headers = {"Content-Type": "application/json"}
        if user:
            secret = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {secret}"
        elif token:
            self._headers["Authorization"] = f"Bearer {token}"

    def experiments(self) -> list[dict[str, Any]]:
        """All of them, deleted ones too."""
        asked = {"max_results": _PAGE, "view_type": "ALL"}
        return [one for page in self._pages("experiments", asked) for one in page]

    def runs(self, experiment: str) -> Iterator[list[dict[str, Any]]]:
        """An experiment's runs, a page at a time, the oldest first."""
        asked = {
            "experiment_ids": [experiment],
            "run_view_type": "ALL",
            "max_results": _PAGE,
            "order_by": ["attributes.start_time ASC"],
        }
        return self._pages("runs", asked)

    def history(self, run: str, key: str) -> list[tuple[float, int | float, float]]:
        """A metric's points, by time and step."""
        found: list[tuple[float, int | float, float]] = []
        token = ""
        while True:
            asked = {"run_id": run, "metric_key": key, "max_results": _POINTS}
            if token:
                asked["page_token"] = token
            told = self._ask(f"metrics/get-history?{urlencode(asked)}")
            points: list[dict[str, Any]] = told.get("metrics") or []
            found += [
                (int(m["timestamp"]) / 1000, int(m.get("step") or 0), _figure(m.get("value")))
                for m in points
            ]
            token = told.get("next_page_token") or ""
            if not token:
                return sorted(found, key=lambda point: point[:2])

    def _pages(self, noun: str, asked: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        while True:
            told = self._ask(f"{noun}/search", asked)
            yield told.get(noun) or []
            if not told.get("next_page_token"):
                return
            asked = {**asked, "page_token": told["next_page_token"]}

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self._base}/api/2.0/mlflow/{path}"
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(url, data, self._headers), timeout=_TIMEOUT) as answer:  # noqa: S310
                return dict(json.loads(answer.read()))
        except HTTPError as wrong:
            raise StoreUnavailable(f"{url} answers {wrong.code} {wrong.reason}") from wrong
        except (URLError, OSError, ValueError) as wrong:
            raise StoreUnavailable(f"{url} does not answer as MLflow does: {wrong}") from wrong


def _figure(value: Any) -> float:
    """A number; NaN and infinities come as text, or as null."""
    if value is None:
        return math.nan
    found = float(str(value).replace("Infinity", "inf"))
    return math.copysign(math.inf, found) if abs(found) >= 1.7976931348623157e308 else found
