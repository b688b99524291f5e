"""Which function answers which path below `/api/2.0/mlflow`, and which permission it needs."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from runbase.integrations.mlflow.rest import (
    artifacts,
    deliveries,
    experiments,
    models,
    registry,
    runs,
    search,
)
from runbase.integrations.mlflow.rest.calls import Call, Json


class Endpoint(Struct, frozen=True):
    """A path with a method.

    Attributes:
        method: the HTTP method.
        path: the path below the base; `{name}` is a variable part.
        answer: the function that answers.
        permission: what the caller must be allowed to do with at least one experiment.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    answer: Callable[[Call], Json]
    permission: Literal["read", "log", "write"]


TRACKING: tuple[Endpoint, ...] = (
    Endpoint("POST", "experiments/create", experiments.create, "log"),
    Endpoint("GET", "experiments/get", experiments.get, "read"),
    Endpoint("GET", "experiments/get-by-name", experiments.get_by_name, "read"),
    Endpoint("POST", "experiments/search", experiments.search, "read"),
    Endpoint("GET", "experiments/search", experiments.search, "read"),
    Endpoint("POST", "experiments/update", experiments.update, "write"),
    Endpoint("POST", "experiments/delete", experiments.delete, "write"),
    Endpoint("POST", "experiments/restore", experiments.restore, "write"),
    Endpoint("POST", "experiments/set-experiment-tag", experiments.set_tag, "log"),
    Endpoint("POST", "experiments/delete-experiment-tag", experiments.delete_tag, "log"),
    Endpoint("POST", "runs/create", runs.create, "log"),
    Endpoint("POST", "runs/update", runs.update, "log"),
    Endpoint("GET", "runs/get", runs.get, "read"),
    Endpoint("POST", "runs/delete", runs.delete, "write"),
    Endpoint("POST", "runs/restore", runs.restore, "write"),
    Endpoint("POST", "runs/search", search.search, "read"),
    Endpoint("POST", "runs/log-metric", deliveries.log_metric, "log"),
    Endpoint("POST", "runs/log-parameter", deliveries.log_parameter, "log"),
    Endpoint("POST", "runs/log-batch", deliveries.log_batch, "log"),
    Endpoint("POST", "runs/set-tag", runs.set_tag, "log"),
    Endpoint("POST", "runs/delete-tag", runs.delete_tag, "log"),
    Endpoint("POST", "runs/log-inputs", runs.log_inputs, "log"),
    Endpoint("POST", "runs/log-model", runs.log_model, "log"),
    Endpoint("POST", "runs/outputs", runs.outputs, "log"),
    Endpoint("GET", "metrics/get-history", search.history, "read"),
    Endpoint("GET", "metrics/get-history-bulk", search.history_bulk, "read"),
    Endpoint("GET", "metrics/get-history-bulk-interval", search.history_interval, "read"),
    Endpoint("GET", "artifacts/list", artifacts.list_of_run, "read"),
)
_MODEL = "logged-models/{model_id:str}"
MODELS: tuple[Endpoint, ...] = (
    Endpoint("POST", "logged-models", models.create, "log"),
    Endpoint("POST", "logged-models/search", models.search, "read"),
    Endpoint("GET", _MODEL, models.get, "read"),
    Endpoint("PATCH", _MODEL, models.finalize, "log"),
    Endpoint("DELETE", _MODEL, models.delete, "write"),
    Endpoint("PATCH", f"{_MODEL}/tags", models.set_tags, "log"),
    Endpoint("DELETE", f"{_MODEL}/tags/{{tag_key:str}}", models.delete_tag, "log"),
    Endpoint("POST", f"{_MODEL}/params", models.log_params, "log"),
    Endpoint("GET", f"{_MODEL}/artifacts/directories", artifacts.list_of_model, "read"),
)
REGISTRY: tuple[Endpoint, ...] = (
    Endpoint("POST", "registered-models/create", registry.create, "log"),
    Endpoint("GET", "registered-models/get", registry.get, "read"),
    Endpoint("GET", "registered-models/search", registry.search, "read"),
    Endpoint("POST", "registered-models/rename", registry.rename, "write"),
    Endpoint("PATCH", "registered-models/update", registry.update, "log"),
    Endpoint("DELETE", "registered-models/delete", registry.delete, "write"),
    Endpoint("POST", "registered-models/set-tag", registry.set_tag, "log"),
    Endpoint("DELETE", "registered-models/delete-tag", registry.delete_tag, "log"),
    Endpoint("POST", "registered-models/alias", registry.set_alias, "log"),
    Endpoint("DELETE", "registered-models/alias", registry.delete_alias, "log"),
    Endpoint("GET", "registered-models/alias", registry.by_alias, "read"),
    Endpoint("GET", "registered-models/get-latest-versions", registry.latest_versions, "read"),
    Endpoint("POST", "registered-models/get-latest-versions", registry.latest_versions, "read"),
    Endpoint("POST", "model-versions/create", registry.create_version, "log"),
    Endpoint("GET", "model-versions/get", registry.get_version, "read"),
    Endpoint("GET", "model-versions/search", registry.search_versions, "read"),
    Endpoint("GET", "model-versions/get-download-uri", registry.download_uri, "read"),
    Endpoint("PATCH", "model-versions/update", registry.update_version, "log"),
    Endpoint("POST", "model-versions/transition-stage", registry.transition, "log"),
    Endpoint("DELETE", "model-versions/delete", registry.delete_version, "write"),
    Endpoint("POST", "model-versions/set-tag", registry.set_version_tag, "log"),
    Endpoint("DELETE", "model-versions/delete-tag", registry.delete_version_tag, "log"),
)


def _no_traces(call: Call) -> Json:
    """Return no traces: the server stores none."""
    del call
    return {"traces": []}


ENDPOINTS: tuple[Endpoint, ...] = (
    *TRACKING,
    *MODELS,
    *REGISTRY,
    Endpoint("GET", "traces", _no_traces, "read"),
)
NEWER_ENDPOINTS: tuple[Endpoint, ...] = (Endpoint("POST", "traces/search", _no_traces, "read"),)
"""Those below `/api/3.0/mlflow`."""
FILE_ENDPOINTS: tuple[Endpoint, ...] = (Endpoint("GET", "", artifacts.list_of_proxy, "read"),)
"""Those below `/api/2.0/mlflow-artifacts/artifacts`."""
