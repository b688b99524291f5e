"""The manifest, against the published schema of a Job; `kubectl` is a program that records what it is asked."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from runbase.errors import RunbaseError, UsageError
from runbase.trials.launchers.base import Plan, Workers
from runbase.trials.launchers.kubernetes import Kubernetes, manifest
from runbase.trials.launchers.record import LaunchRecord
from runbase.trials.launchers.resources import Resources

from .conftest import Program

SCHEMA = json.loads((Path(__file__).parent / "recorded" / "job-batch-v1.json").read_text())
KUBECTL = """
import json, pathlib
here = pathlib.Path(__file__).parent
with (here / "asked").open("a") as file:
    stdin = sys.stdin.read() if "--filename=-" in sys.argv else ""
    file.write(json.dumps([sys.argv[1:], stdin]) + "\\n")
answer = here / sys.argv[1]
if not answer.exists():
    sys.exit('Error from server (NotFound): "%s" not found' % sys.argv[3])
print(answer.read_text())
"""


def asked(program: Path) -> list[Any]:
    return [json.loads(line) for line in (program.parent / "asked").read_text().splitlines()]


def test_the_manifest_is_valid(plan: Plan) -> None:
    for one in (plan, replace(plan, resources=Resources(), max_parallel=None, trial="a" * 32)):
        jsonschema.validate(manifest(one), SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**manifest(plan), "spec": {"completion": 3}}, SCHEMA)


def test_what_the_manifest_asks_for(plan: Plan) -> None:
    job = manifest(plan)
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 100, 8)
    pod = spec["template"]["spec"]
    assert pod["activeDeadlineSeconds"] == 14400
    (container,) = pod["containers"]
    assert container["image"] == "registry.lab/train:1"
    assert container["command"][:8] == (
        ["runbase", "worker", "tuning", "--wait", "0", "--stop-after", "14340s", "--"]
    )
    assert container["resources"] == {
        "requests": {"cpu": "4000m", "memory": "17179869184", "nvidia.com/gpu": "1"},
        "limits": {"memory": "17179869184", "nvidia.com/gpu": "1"},
    }
    variables = {entry["name"]: entry for entry in container["env"]}
    assert variables["RUNBASE_LAUNCH"]["value"] == plan.id
    reference = variables["RUNBASE_STORE"]["valueFrom"]["secretKeyRef"]
    assert (reference["name"], reference["key"]) == ("runbase-store", "url")


def test_no_secret_is_shown(plan: Plan) -> None:
    text = Kubernetes().preview(plan)
    assert "geheim" not in text
    assert "hush-hush" not in text
    assert json.loads(text)["kind"] == "Job"
    assert "geheim" not in json.dumps(manifest(plan))


def test_a_variable_of_the_shell_stays(plan: Plan) -> None:
    pod = manifest(replace(plan, command=["sh", "-c", "echo $(date) $HOME"]))
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    assert container["command"][-1] == "echo $$(date) $HOME"


def test_a_store_that_pods_cannot_reach(plan: Plan) -> None:
    for address in ("sqlite:////home/ada/runbase.db", "postgresql://localhost/lab"):
        with pytest.raises(UsageError, match="the pods are on other machines"):
            Kubernetes().check(replace(plan, address=address))
    with pytest.raises(UsageError, match="needs --image"):
        Kubernetes().check(replace(plan, image=None))
    Kubernetes().check(plan)


def test_a_job_is_applied(plan: Plan, program: Program) -> None:
    kubectl = program("kubectl", KUBECTL)
    with pytest.raises(RunbaseError, match=r"no Secret 'runbase-store'.*kubectl create secret"):
        Kubernetes().submit(plan)
    for name in ("get", "apply"):
        (kubectl.parent / name).write_text("done")
    job = Kubernetes().submit(plan)
    assert job == {"name": "runbase-0123456789", "options": ["--partition=gpu"]}
    (words, stdin) = asked(kubectl)[-1]
    assert words == ["apply", "--filename=-", "--partition=gpu"]
    assert json.loads(stdin) == manifest(plan)


@pytest.mark.parametrize(
    ("status", "workers"),
    [
        ({}, Workers(pending=4)),
        ({"active": 3, "ready": 2}, Workers(pending=2, running=2)),
        ({"active": 1, "ready": 1, "succeeded": 3}, Workers(running=1, ended=3)),
        ({"succeeded": 4}, Workers(ended=4)),
        (
            {"succeeded": 1, "conditions": [{"type": "Failed", "status": "True"}]},
            Workers(ended=1, failed=3),
        ),
    ],
)
def test_status(
    record: LaunchRecord, program: Program, status: dict[str, Any], workers: Workers
) -> None:
    kubectl = program("kubectl", KUBECTL)
    (kubectl.parent / "get").write_text(json.dumps({"status": status}))
    assert Kubernetes().status(record) == workers
    assert asked(kubectl)[-1][0] == (
        ["get", "job", "runbase-0123456789", "--namespace=lab", "--output=json"]
    )


def test_a_job_that_is_gone(record: LaunchRecord, program: Program) -> None:
    program("kubectl", KUBECTL)
    assert Kubernetes().status(record).unknown == 4


def test_cancel_and_logs(record: LaunchRecord, program: Program) -> None:
    kubectl = program("kubectl", KUBECTL)
    (kubectl.parent / "delete").write_text("deleted")
    Kubernetes().cancel(record)
    assert asked(kubectl)[-1][0][:4] == ["delete", "job", "runbase-0123456789", "--namespace=lab"]
    lines = ["[pod/a-0/worker] trial 1: COMPLETED", "[pod/a-1/worker] ", "[pod/a-0/worker] end"]
    (kubectl.parent / "logs").write_text("\n".join(lines))
    assert Kubernetes().logs(record) == {"a-0": "trial 1: COMPLETED\nend\n", "a-1": "\n"}
