"""The files for operation: what can be checked without Docker and without a running systemd."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from dockerfile_parse import DockerfileParser

from runbase.cli.app import build

DEPLOY = Path(__file__).parents[2] / "deploy"
INSTRUCTIONS = {
    "COMMENT", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip


def check_command(words: list[str]) -> None:
    """Raise for a command or an option of runbase that does not exist."""
    command: Any = typer.main.get_command(build())
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("runbase", words)


def dockerfile() -> list[dict[str, Any]]:
    with (DEPLOY / "Dockerfile").open("rb") as file:
        return DockerfileParser(fileobj=file).structure  # type: ignore[no-any-return]


def test_the_image_is_what_it_is_to_be() -> None:
    steps = dockerfile()
    assert {step["instruction"] for step in steps} <= INSTRUCTIONS
    values = {step["instruction"]: step["value"] for step in steps}  # the last of each
    assert values["FROM"].startswith("python:3.")
    assert values["USER"] == "runbase"
    assert values["VOLUME"] == "/var/lib/runbase"
    assert "/health" in values["HEALTHCHECK"]
    last_user = max(n for n, step in enumerate(steps) if step["instruction"] == "USER")
    assert not any(step["instruction"] == "RUN" for step in steps[last_user:])
    check_command(yaml.safe_load(values["CMD"]))


def test_the_image_has_what_it_copies() -> None:
    root = DEPLOY.parent
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    for step in dockerfile():
        if step["instruction"] == "COPY" and "--from" not in step["value"]:
            for name in step["value"].split()[:-1]:
                assert (root / name).exists(), name
                assert f"!{name}" in ignored


def test_the_health_checks_are_python() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    check = compose["services"]["server"]["healthcheck"]["test"]
    (found,) = [step["value"] for step in dockerfile() if step["instruction"] == "HEALTHCHECK"]
    in_image = yaml.safe_load(found.partition("CMD ")[2])
    for code in (check[3], in_image[2]):
        compile(code, "check", "exec")
    assert check[0] == "CMD"


def test_the_services_belong_together() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    server, database = compose["services"]["server"], compose["services"]["database"]
    check_command(server["command"])
    assert server["depends_on"]["database"]["condition"] == "service_healthy"
    assert server["secrets"] == database["secrets"] == list(compose["secrets"])
    for service in (server, database):
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(compose["volumes"])
    store = server["environment"]["RUNBASE_STORE"]
    assert store.startswith(f"postgresql://{database['environment']['POSTGRES_USER']}@database/")
    assert (DEPLOY / server["build"]["context"] / server["build"]["dockerfile"]).is_file()


def test_the_entry_point_reads_the_password(tmp_path: Path) -> None:
    """The shell command of the service, with a program that stands for runbase."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    words = [word.replace("$$", "$") for word in compose["services"]["server"]["entrypoint"]]
    (tmp_path / "secret").write_text("pass word\n")
    program = tmp_path / "runbase"
    program.write_text('#!/bin/sh\necho "$PGPASSWORD|$1|$2"\n')
    program.chmod(0o755)
    words = [word.replace("/run/secrets/db_password", str(tmp_path / "secret")) for word in words]
    done = subprocess.run(
        [*words, "tokens", "add"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "pass word|tokens|add\n"


def test_the_unit_starts_a_command_that_exists() -> None:
    text = (DEPLOY / "runbase.service").read_text()
    (line,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    program, *words = shlex.split(line)
    assert Path(program).name == "runbase"
    check_command(words)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "runbase.service").read_text()
    unit = tmp_path / "runbase.service"  # its program is not on this machine
    unit.write_text(text.replace("/opt/runbase/bin/runbase", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Failed to" in done.stderr and "unit" not in done.stderr.lower():
        pytest.skip(f"systemd-analyze does not work here: {done.stderr}")
    assert "runbase.service:" not in done.stderr
    assert done.returncode == 0, done.stderr
