"""Requests made from the description of the API: no 5xx, and answers as described."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Http

CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance"


@pytest.mark.parametrize("permissions", [(), ("admin",)], ids=str)
def test_no_request_fails_the_server(
    guarded: Callable[..., Http], permissions: tuple[str, ...], tmp_path: Path
) -> None:
    client = guarded(*permissions)
    token = ["--header", f"Authorization: Bearer {client.token}"] if client.token else []
    command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
    options = ["--url", client.url, "--checks", CHECKS, "--exclude-path", "/api/live"]
    limits = [
        "--max-examples",
        "6",
        "--generation-deterministic",
        "--suppress-health-check",
        "all",
        "--no-color",
    ]
    done = subprocess.run(
        [*command, f"{client.url}/api/openapi.json", *options, *limits, *token],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested is not None
    assert int(tested[1]) >= 50
