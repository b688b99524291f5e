"""Read runs from an MLflow server over its REST interface (`/api/2.0/mlflow`). MLflow need not be installed.

Credentials come from the address, or from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
MLFLOW_TRACKING_TOKEN, as for MLflow's own clients. The points of a metric are not requested again if its last point
is already imported.
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
"""The number of points per request: MLflow's maximum page size."""
_TIMEOUT = 60.0


def recognises(source: str) -> bool:
    """Return whether a source is the address of a server that answers as MLflow does."""
    if not source.startswith(("http://", "https://")):
        return False
    try:
        _Server(source).experiments()
    except StoreUnavailable:
        return False
    return True


def count(source: str) -> int:
    """Return 0: the number of runs is not known before they are listed."""
    del source
    return 0


def experiments(source: str) -> list[ImportedExperiment]:
    """Return experiments with their tags, descriptions and times."""
    imported: list[ImportedExperiment] = []
    for listed in _Server(source).experiments():
        tags: list[dict[str, Any]] = listed.get("tags") or []
        experiment = about_experiment(
            str(listed["experiment_id"]),
            listed.get("name"),
            listed.get("lifecycle_stage"),
            listed.get("creation_time"),
            listed.get("last_update_time"),
            {str(tag["key"]): tag.get("value", "") for tag in tags},
        )
        if experiment is not None:
            imported.append(experiment)
    return imported


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield all runs by experiment; those that cannot be read are reported in `asked.problems`."""
    server = _Server(asked.source)
    for experiment in server.experiments():
        name = str(experiment["name"])
        trashed = experiment.get("lifecycle_stage") == "deleted"
        for page in server.runs(str(experiment["experiment_id"])):
            known = asked.known([str(listed["info"]["run_id"]) for listed in page])
            for listed in page:
                run_id = str(listed["info"]["run_id"])
                try:
                    run = _run(server, listed, name, known.get(run_id))
                except (StoreUnavailable, ValueError, KeyError) as wrong:
                    asked.problems.append(f"run {run_id}: {wrong}")
                    continue
                run.deleted = run.deleted or trashed
                yield run


def _run(
    server: "_Server", listed: Mapping[str, Any], experiment: str, known: Run | None
) -> ImportedRun:
    info: dict[str, Any] = listed["info"]
    data: dict[str, list[dict[str, Any]]] = listed.get("data") or {}
    settled = _is_settled(info, known)
    metrics = {
        str(metric["key"]): server.history(str(info["run_id"]), str(metric["key"]))
        for metric in data.get("metrics") or []
        if not (settled and _as_before(metric, known))
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
        datasets=_datasets(listed),
    )


def _datasets(listed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the datasets that a run used, each with its context."""
    inputs: dict[str, Any] = listed.get("inputs") or {}
    uses: list[dict[str, Any]] = inputs.get("dataset_inputs") or []
    datasets: list[dict[str, Any]] = []
    for use in uses:
        tags: list[dict[str, Any]] = use.get("tags") or []
        contexts = [tag.get("value") for tag in tags if tag.get("key") == "mlflow.data.context"]
        datasets.append({**use["dataset"], "context": contexts[0] if contexts else None})
    return datasets


def _is_settled(info: Mapping[str, Any], known: Run | None) -> bool:
    """Return whether a run had ended at the last import and was not continued since."""
    end = info.get("end_time")
    if known is None or known.ended_at is None or not end:
        return False
    return abs(known.ended_at.timestamp() - int(end) / 1000) < 0.001


def _as_before(latest: Mapping[str, Any], known: Run | None) -> bool:
    """Return whether the latest point of a metric is already imported."""
    metric = None if known is None else known.metrics.get(str(latest["key"]))
    if metric is None or metric.last is None or metric.last_time is None:
        return False
    figure = _figure(latest.get("value"))
    same = figure == metric.last or (math.isnan(figure) and math.isnan(metric.last))
    when = int(latest.get("timestamp") or 0)
    return (
        same
        and int(latest.get("step") or 0) == metric.last_step
        and when == round(metric.last_time.timestamp() * 1000)
    )


class _Server:
    """A client of the REST interface."""

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
        """Return all experiments, deleted ones included."""
        query = {"max_results": _PAGE, "view_type": "ALL"}
        return [experiment for page in self._pages("experiments", query) for experiment in page]

    def runs(self, experiment: str) -> Iterator[list[dict[str, Any]]]:
        """Yield the runs of an experiment in pages, oldest first."""
        query = {
            "experiment_ids": [experiment],
            "run_view_type": "ALL",
            "max_results": _PAGE,
            "order_by": ["attributes.start_time ASC"],
        }
        return self._pages("runs", query)

    def history(self, run: str, key: str) -> list[tuple[float, int | float, float]]:
        """Return the points of a metric, by time and step."""
        points: list[tuple[float, int | float, float]] = []
        token = ""
        while True:
            query = {"run_id": run, "metric_key": key, "max_results": _POINTS}
            if token:
                query["page_token"] = token
            answer = self._ask(f"metrics/get-history?{urlencode(query)}")
            page: list[dict[str, Any]] = answer.get("metrics") or []
            points += [
                (int(m["timestamp"]) / 1000, int(m.get("step") or 0), _figure(m.get("value")))
                for m in page
            ]
            token = answer.get("next_page_token") or ""
            if not token:
                return sorted(points, key=lambda point: point[:2])

    def _pages(self, noun: str, query: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        while True:
            answer = self._ask(f"{noun}/search", query)
            yield answer.get(noun) or []
            if not answer.get("next_page_token"):
                return
            query = {**query, "page_token": answer["next_page_token"]}

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
    """Return a number; NaN and infinities are sent as text or null."""
    if value is None:
        return math.nan
    number = float(str(value).replace("Infinity", "inf"))
    return math.copysign(math.inf, number) if abs(number) >= 1.7976931348623157e308 else number
