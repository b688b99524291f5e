"""`runbase show`: everything of a run, readable at any width."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runbase
from tests.conftest import close_storages

Cli = Callable[..., Any]
NAME = "careful-albatross-8"


def section(text: str, name: str) -> list[str]:
    """The lines below a heading."""
    lines = text.splitlines()
    begin = lines.index(name) + 1
    end = lines.index("", begin) if "" in lines[begin:] else len(lines)
    return lines[begin:end]


@pytest.mark.parametrize("width", [80, 120])
def test_everything_of_a_run_fits(terminal: Cli, lab: Path, width: int) -> None:
    text = terminal(width, "show", NAME, "--home", str(lab))
    assert [line for line in text.splitlines() if len(line) > width] == []
    heading, *facts = text.splitlines()[:20]
    assert re.fullmatch(rf"{NAME}  FAILED  imagenet-resnet50-baseline #\d+", heading)
    assert {line.split()[0] for line in facts if line[:3].strip()} >= {
        *("id", "started", "took", "history", "command", "where", "machine", "folder", "notes")
    }
    assert "gradient norm grows" in " ".join(text.split())
    metrics = section(text, "Metrics")
    assert metrics[0].split()[:4] == ["metric", "points", "last", "best"] or width == 120
    names = [line.split()[0] for line in metrics[1:]]
    assert names.index("layer2/weight_norm") + 1 == names.index("layer3/weight_norm")
    assert len(names) == 45
    parameters = section(text, "Parameters")
    assert len(parameters) == 33
    media = [line.split() for line in section(text, "Media")]
    assert media == [
        ["key", "kind", "records", "steps"],
        ["weights/fc", "histogram", "3", "0–20"],
        ["confusion", "table", "3", "0–20"],
        ["prediction", "text", "3", "0–20"],
    ]
    [_, long, short] = section(text, "Artifacts")
    assert ("…" in long) == (width == 80)
    assert long.split()[1:4] == ["checkpoint", "5", "B"]
    assert short.split()[0] == "model.bin"
    children = [line.split() for line in section(text, "Children")]
    assert [line[:2] for line in children[1:]] == [["eval-a", "COMPLETED"], ["eval-b", "COMPLETED"]]
    assert section(text, "Links") == [
        "  continues → careful-albatross-2 (imagenet-resnet50-baseline)"
    ]
    assert section(text, "Output")[0] == "  epoch 1"


def test_a_child_names_its_parent(terminal: Cli, lab: Path) -> None:
    text = terminal(80, "show", "eval-a", "--home", str(lab))
    assert f"parent     {NAME} (imagenet-resnet50-baseline)" in text


def test_library_frames_are_folded_unless_all_are_wanted(
    terminal: Cli, cli: Cli, lab: Path
) -> None:
    error = section(terminal(80, "show", NAME, "--home", str(lab)), "Error")
    assert re.fullmatch(r"  .*conftest\.py:\d+ in _error_in_a_library", error[0])
    assert error[1:] == [
        '      json.loads("{")',
        "  … 3 frames in json …",
        "  json.decoder.JSONDecodeError: Expecting property name enclosed in double",
        "  quotes: line 1 column 2 (char 1)",
    ]
    whole = section(cli("show", NAME, "--all", "--home", str(lab)), "Error")
    assert whole[0] == "  Traceback (most recent call last):"
    assert sum("json/" in line for line in whole) == 3


def test_files_of_media_are_not_listed_as_artifacts(cli: Cli, home: Path) -> None:
    import numpy as np

    run = runbase.start_run("e", name="pictures", home=home, capture=False)
    for step in range(3):
        run.log_image("sample", np.zeros((4, 4, 3), np.uint8), step=step)
    run.finish()
    close_storages()
    text = cli("show", "pictures", "--home", str(home))
    assert [line.split() for line in section(text, "Media")][1] == ["sample", "image", "3", "0–2"]
    assert "Artifacts" not in text


def test_many_children_are_counted(cli: Cli, home: Path) -> None:
    run = runbase.start_run("e", name="parent", home=home, capture=False)
    with runbase.open(home=home) as store:
        for number in range(23):
            store.create_run("e", name=f"child-{number}", parent=run.id)
    run.finish()
    close_storages()
    text = cli("show", "parent", "--home", str(home))
    assert section(text, "Children")[-1].strip() == "+3 more, show with --all"
    assert len(section(cli("show", "parent", "--all", "--home", str(home)), "Children")) == 24


def test_the_job_of_a_run_is_shown(
    terminal: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "train",
        "SLURM_JOB_PARTITION": "gpu-a100",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_SUBMIT_DIR": "/home/ada/vision",
    }
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    runbase.start_run("s", name="job", home=home).finish()
    for name in job:
        monkeypatch.delenv(name)
    close_storages()
    text = " ".join(terminal(80, "show", "job", "--home", str(home)).split())
    assert (
        "slurm job 4711, name train, partition gpu-a100, on node[1-2], submitted in /home/ada/vision"
        in text
    )


def test_best_says_of_what(cli: Cli, lab: Path) -> None:
    text = cli("best", "vit", "--home", str(lab))
    assert text.startswith("The lowest train/loss: 9.5\n\ncareful-albatross-9  COMPLETED  vit #1\n")
    text = cli("best", "-m", "val/acc", "--home", str(lab))
    assert text.startswith("The highest val/acc: 0.555556\n\ncareful-albatross-0 ")
