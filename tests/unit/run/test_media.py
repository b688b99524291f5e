"""Records that are not numbers: text, tables, histograms, images."""

import json

import numpy as np

import runbase


def test_records(run: runbase.Run) -> None:
    run.log({"x": 1}, step=7)
    run.log_text("sample", "once upon a time")
    run.log_text("long", "x" * 100_000, step=1)
    run.log_dict("config", {"a": [1, {"b": None}]})
    run.log_table("rows", [{"a": 1, "b": "x"}, {"a": 2}])
    run.log_table("columns", {"a": [1, 2], "b": [3, 4]})
    run.log_histogram("weights", np.append(np.arange(100.0), np.nan), bins=10)
    run.log_image("pixels", np.zeros((4, 6, 3)), step=2)
    run.finish()
    with runbase.open(home=run.folder.parents[2]) as store:
        found = {record["key"]: record for record in store.records(run)}
    assert (found["sample"]["value"], found["sample"]["step"]) == ("once upon a time", 7)
    assert json.loads((run.folder / found["long"]["path"]).read_text()) == "x" * 100_000
    assert found["config"]["value"] == {"a": [1, {"b": None}]}
    assert found["rows"]["value"] == {"columns": ["a", "b"], "rows": [[1, "x"], [2, None]]}
    assert found["columns"]["value"]["rows"] == [[1, 3], [2, 4]]
    assert found["weights"]["value"]["counts"] == [10] * 10
    assert found["weights"]["value"]["not_finite"] == 1
    assert (run.folder / found["pixels"]["path"]).read_bytes().startswith(b"\x89PNG")
