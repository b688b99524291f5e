"""Other trackers, each in a virtual environment of its own, doing what `measures` does.

A peer is a few lines that define `log(values, step)` and `close()`; the rest is shared.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ENVIRONMENTS = Path(__file__).parents[1] / ".bench"

HEAD = """
import json, os, random, sys, time
folder, calls = sys.argv[1], int(sys.argv[2])
os.chdir(folder)
began = time.perf_counter()
"""
TAIL = """
dice = random.Random(0)
keys = ("train/loss", "train/accuracy", "lr", "grad_norm")
rows = [{k: dice.random() for k in keys} for _ in range(1000)]
taken, clock = [0] * calls, time.perf_counter_ns
for i in range(calls):
    row = rows[i % 1000]
    t = clock(); log(row, i); taken[i] = clock() - t
close()
taken.sort()
size = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(folder) for f in fs)
sys.stdout.write("\\n" + json.dumps({
    "p50": taken[calls // 2] / 1000, "p99": taken[calls * 99 // 100] / 1000,
    "import_ms": imported * 1000, "bytes_per_point": size / calls / 4,
}) + "\\n")
"""
IMPORTED = "imported = time.perf_counter() - began\n"

PEERS: dict[str, tuple[list[str], int, str]] = {
    "mlflow (SQLite)": (
        ["mlflow"],
        300,
        "import mlflow\n"
        + IMPORTED
        + "mlflow.set_tracking_uri('sqlite:///m.db')\nmlflow.start_run()\n"
        "def log(v, s): mlflow.log_metrics(v, step=s)\nclose = mlflow.end_run\n",
    ),
    "trackio": (
        ["trackio"],
        20_000,
        "os.environ['TRACKIO_DIR'] = folder\nimport trackio\n"
        + IMPORTED
        + "trackio.init(project='b')\n"
        "def log(v, s): trackio.log(v, step=s)\nclose = trackio.finish\n",
    ),
    "wandb (offline)": (
        ["wandb"],
        20_000,
        "os.environ.update(WANDB_MODE='offline', WANDB_SILENT='true', WANDB_DIR=folder)\n"
        "import wandb\n" + IMPORTED + "run = wandb.init(project='b')\n"
        "def log(v, s): run.log(v, step=s)\nclose = run.finish\n",
    ),
    "tensorboardX": (
        ["tensorboardX"],
        20_000,
        "import tensorboardX\n" + IMPORTED + "w = tensorboardX.SummaryWriter(folder)\n"
        "def log(v, s):\n    for k, x in v.items(): w.add_scalar(k, x, s)\nclose = w.close\n",
    ),
    "aim": (
        ["aim"],
        3000,
        "import aim\n" + IMPORTED + "run = aim.Run(repo=folder, system_tracking_interval=None)\n"
        "def log(v, s): run.track(v, step=s)\nclose = run.close\n",
    ),
}


def python(peer: str) -> Path | None:
    """The interpreter of a peer's environment, made on first use; None where it does not install."""
    packages = PEERS[peer][0]
    place = ENVIRONMENTS / packages[0]
    interpreter = place / "bin" / "python"
    ready = place / ".ready"
    if not ready.exists():
        print(f"installing {packages[0]} …", file=sys.stderr)
        made = subprocess.run([sys.executable, "-m", "venv", str(place)], check=False)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", *packages]
        if made.returncode or subprocess.run(pip, check=False, capture_output=True).returncode:
            return None
        ready.touch()
    return interpreter


def measure(peer: str) -> dict[str, Any] | None:
    """One round of a peer; None where it does not run here."""
    interpreter = python(peer)
    if interpreter is None:
        return None
    _, calls, body = PEERS[peer]
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        script = Path(folder) / "peer.py"
        script.write_text(HEAD + body + TAIL)
        data = Path(folder) / "data"
        data.mkdir()
        try:
            done = subprocess.run(
                [str(interpreter), str(script), str(data), str(calls)],
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        print(f"{peer}: {done.stderr[-300:]}", file=sys.stderr)
        return None
    return json.loads(lines[-1])
