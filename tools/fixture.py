"""Makes the database that tests upgrade for ever, of the schema as it now is: run once a migration."""

import gzip
import sqlite3
import tempfile
from pathlib import Path

import runbase
from runbase.storage.sql.migrate import migrations

FIXTURES = Path(__file__).parents[1] / "tests" / "migration" / "fixtures"


def main() -> None:
    """Write the fixture of the newest schema; never over one that is there."""
    name = migrations("sqlite")[-1].name.removesuffix(".sql")
    target = FIXTURES / f"{name}.db.gz"
    if target.exists():
        raise SystemExit(f"{target} is there: a released schema's database is never made anew")
    with tempfile.TemporaryDirectory() as folder:
        run = runbase.start_run(
            "fixture",
            name="released",
            params={"lr": 0.1},
            tags=["kept"],
            home=folder,
            capture=False,
        )
        for step in range(3000):
            run.log({"loss": 1 / (step + 1)}, step=step)
        run.finish()
        connection = sqlite3.connect(Path(folder) / "runbase.db")
        connection.execute("vacuum into ?", [str(Path(folder) / "whole.db")])
        target.write_bytes(gzip.compress((Path(folder) / "whole.db").read_bytes(), mtime=0))
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
