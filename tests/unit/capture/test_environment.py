"""The options of a command line."""

import json

from runbase.capture import environment


def test_command_lines() -> None:
    parse = environment.parse
    assert parse(["--lr", "1e-3", "-n", "5", "--flag", "--x=true", "data.csv", "a.b=2"]) == {
        "lr": 0.001,
        "n": 5,
        "flag": True,
        "x": True,
        "": ["data.csv"],
        "a.b": 2,
    }
    assert parse([]) == {}
    assert json.dumps(parse(["--z", "1+2j"])) == '{"z": "(1+2j)"}'
