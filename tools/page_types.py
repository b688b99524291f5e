"""Write ui/src/api/schema.ts: the types of the HTTP API, from its description."""

import json
import subprocess
import tempfile
from pathlib import Path

import runbase
from runbase.server.app import create_app
from runbase.server.describe import describe

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "ui" / "src" / "api" / "schema.ts"


def generate(target: Path) -> None:
    """Write the types of all schemas; paths are left out, since the page names them itself."""
    with tempfile.TemporaryDirectory() as folder, runbase.open(home=folder) as store:
        schemas = describe(create_app(store))["components"]["schemas"]
    reduced = {
        "openapi": "3.1.0",
        "info": {"title": "runbase", "version": "1"},
        "paths": {},
        "components": {"schemas": schemas},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(reduced, file)
        file.flush()
        command = ["npx", "--no-install", "openapi-typescript", file.name, "-o", str(target)]
        subprocess.run(command, cwd=ROOT / "ui", check=True)


if __name__ == "__main__":
    generate(TARGET)
    print(f"wrote {TARGET.relative_to(ROOT)}")
