"""Workers as the pods of one Indexed Job of Kubernetes, applied and asked about by `kubectl`."""

import json
import math
import re
import shlex
from typing import Any

from runbase.errors import RunbaseError, UsageError
from runbase.run.start import LAUNCH
from runbase.trials.launchers.base import Plan, Workers, ask
from runbase.trials.launchers.hosts import check_reachable
from runbase.trials.launchers.record import LaunchRecord
from runbase.typing import JsonObject

SECRET = "runbase-store"  # noqa: S105
"""The name of the Secret with the URL of the store, under the key `url`, and a server's token, under `token`."""
KEPT = 7 * 86400
"""Seconds for which Kubernetes keeps the Job after its end."""
GRACE = 60
"""Seconds between SIGTERM and SIGKILL of a pod."""


class Kubernetes:
    """Applies the manifest of a Job; `kubectl` decides which cluster, by its own configuration and `--option`."""

    def check(self, plan: Plan) -> None:
        """Raise UsageError if there is no image, or the store cannot be reached from pods."""
        if not plan.image:
            raise UsageError(
                "--on kubernetes needs --image: a container image with runbase, the script and what it imports"
            )
        check_reachable(plan.address, "the pods are", None)

    def preview(self, plan: Plan) -> str:
        """Return the manifest, which is JSON and so YAML."""
        return json.dumps(manifest(plan.shown()), indent=2)

    def submit(self, plan: Plan) -> JsonObject:
        """Apply the manifest, if the cluster has the Secret with the URL of the store."""
        options = list(plan.options)
        try:
            ask("kubectl", "get", "secret", SECRET, "--output=name", *options)
        except RunbaseError as error:
            if "NotFound" not in str(error) and "not found" not in str(error):
                raise
            create = f'kubectl create secret generic {SECRET} --from-literal=url="$RUNBASE_STORE"'
            raise RunbaseError(
                f"the cluster has no Secret {SECRET!r} with the URL of the store; create it once: "
                f"{shlex.join([create, *options]) if options else create}"
            ) from None
        ask("kubectl", "apply", "--filename=-", *options, stdin=json.dumps(manifest(plan)))
        return {"name": name_of(plan.id), "options": options}

    def status(self, record: LaunchRecord) -> Workers:
        """Return what the controller counts: pods that are ready, indexes that are complete or failed."""
        try:
            text = ask("kubectl", "get", "job", *_job(record), "--output=json")
        except RunbaseError as error:
            if "NotFound" not in str(error) and "not found" not in str(error):
                raise
            return Workers(unknown=record.workers, note="the cluster has no such Job (any more)")
        status: JsonObject = json.loads(text).get("status", {})
        return _counted(status, record.workers)

    def cancel(self, record: LaunchRecord) -> None:
        """Delete the Job: its pods get SIGTERM, and their workers give their trials back."""
        ask("kubectl", "delete", "job", *_job(record), "--ignore-not-found", "--wait=false")

    def logs(self, record: LaunchRecord) -> dict[str, str]:
        """Return the output of the pods, by their names, as far as the cluster still has them."""
        text = ask(
            "kubectl",
            "logs",
            f"--selector=job-name={record.job['name']}",
            "--prefix",
            "--tail=-1",
            f"--max-log-requests={max(record.workers, 5)}",
            *record.job.get("options", []),
        )
        pods: dict[str, list[str]] = {}
        for line in text.splitlines():
            match = re.match(r"\[pod/([^/\]]+)[^\]]*\] ?(.*)", line)
            pod, rest = (match[1], match[2]) if match else ("", line)
            pods.setdefault(pod, []).append(rest)
        return {pod: "\n".join([*lines, ""]) for pod, lines in pods.items()}


def name_of(launch: str) -> str:
    """Return the name of the Job of a launch."""
    return f"runbase-{launch}"


def manifest(plan: Plan) -> JsonObject:
    """Return the Job (batch/v1): one pod a worker, at most `max_parallel` at once.

    The URL of the store is not in it: pods read it from the Secret.
    """
    labels = {"app.kubernetes.io/managed-by": "runbase", "runbase-launch": plan.id}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name_of(plan.id),
            "labels": labels,
            "annotations": {"runbase/experiment": plan.experiment},
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": plan.workers,
            "parallelism": plan.at_once,
            "backoffLimit": 6 + plan.workers,
            # A pod that was evicted or preempted is replaced, and does not count as a failure.
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    }
                ]
            },
            "ttlSecondsAfterFinished": KEPT,
            "template": {"metadata": {"labels": labels}, "spec": _pod(plan)},
        },
    }


def _pod(plan: Plan) -> JsonObject:
    seconds = plan.resources.seconds
    stop_after = None if seconds is None else max(seconds - GRACE, 1)
    pod: JsonObject = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "containers": [
            {
                "name": "worker",
                "image": plan.image,
                "command": ["runbase", *_escaped(plan.worker(stop_after=stop_after))],
                "env": [
                    {"name": LAUNCH, "value": plan.id},
                    {"name": "RUNBASE_QUIET", "value": "1"},
                    {"name": "PYTHONUNBUFFERED", "value": "1"},
                    _from_secret("RUNBASE_STORE", "url", optional=False),
                    _from_secret("RUNBASE_TOKEN", "token", optional=True),
                ],
                "resources": _resources(plan),
            }
        ],
    }
    if seconds is not None:
        pod["activeDeadlineSeconds"] = seconds
    return pod


def _escaped(arguments: list[str]) -> list[str]:
    """Keep $(NAME) of a command, which Kubernetes would replace."""
    return [argument.replace("$(", "$$(") for argument in arguments]


def _from_secret(variable: str, key: str, *, optional: bool) -> JsonObject:
    reference = {"name": SECRET, "key": key, "optional": optional}
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}


def _resources(plan: Plan) -> JsonObject:
    """Return requests, and limits for what a pod must not exceed."""
    wanted = plan.resources
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if wanted.cpus is not None:
        requests["cpu"] = f"{math.ceil(wanted.cpus * 1000)}m"
    if wanted.memory is not None:
        requests["memory"] = limits["memory"] = str(wanted.memory)
    if wanted.gpus is not None:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(wanted.gpus)
    return {"requests": requests, "limits": limits}


def _job(record: LaunchRecord) -> list[str]:
    """Return the name of the Job, and the options that say where it is."""
    return [str(record.job["name"]), *record.job.get("options", [])]


def _counted(status: JsonObject, workers: int) -> Workers:
    """Return the counts of a Job's status."""
    ended = int(status.get("succeeded") or 0)
    running = int(status.get("ready", status.get("active")) or 0)
    conditions: list[Any] = status.get("conditions") or []
    over = any(
        condition.get("type") == "Failed" and condition.get("status") == "True"
        for condition in conditions
    )
    rest = max(workers - ended - running, 0)
    return Workers(
        pending=0 if over else rest, running=running, ended=ended, failed=rest if over else 0
    )
