"""Tracebacks: frames of the user's code stay, those of libraries become one line."""

import pytest

from runbase.cli.tracebacks import folded, library_of

CHAINED = """Traceback (most recent call last):
  File "/home/ada/proj/train.py", line 4, in read
    return json.loads(text)
           ^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
  File "/usr/lib/python3.11/json/decoder.py", line 337, in decode
    obj, end = self.raw_decode(s, idx=_w(s, 0).end())
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/home/ada/proj/main.py", line 9, in <module>
    trainer.fit(model)
  File "/env/lib/python3.11/site-packages/lightning/trainer.py", line 538, in fit
    call._call_and_handle_interrupt(
  File "/env/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1511, in _call_impl
    return forward_call(*args, **kwargs)
  File "/home/ada/proj/models/net.py", line 20, in forward
    return self.forward(x)
  [Previous line repeated 996 more times]
  File "<frozen importlib._bootstrap>", line 241, in _call
ValueError: not a config
  with a second line
"""


def test_library_frames_are_one_line() -> None:
    assert folded(CHAINED, "/home/ada/proj") == [
        "train.py:4 in read",
        "    return json.loads(text)",
        "… 2 frames in json …",
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        "The above exception was the direct cause of the following exception:",
        "Traceback (most recent call last):",
        "main.py:9 in <module>",
        "    trainer.fit(model)",
        "… 2 frames in lightning, torch …",
        "models/net.py:20 in forward",
        "    return self.forward(x)",
        "    [Previous line repeated 996 more times]",
        "… 1 frame in importlib …",
    ]


def test_the_last_frame_stays_if_all_are_of_libraries() -> None:
    trace = CHAINED.replace("/home/ada/proj", "/env/lib/python3.11/site-packages/mine")
    assert folded(trace)[-1] == "<frozen importlib._bootstrap>:241 in _call"
    only = 'Traceback (most recent call last):\n  File "/usr/lib/python3.11/runpy.py", line 8, in f\n    x\nE: y\n'
    assert folded(only) == ["/usr/lib/python3.11/runpy.py:8 in f", "    x"]


def test_groups_of_exceptions_are_read() -> None:
    text = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/home/ada/a.py", line 3, in <module>\n'
        "  |     main()\n"
        '  |   File "/usr/lib/python3.11/asyncio/runners.py", line 5, in run\n'
        "  |     x\n"
        "  | ExceptionGroup: several (1 sub-exception)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | ValueError: one\n"
        "    +------------------------------------\n"
    )
    shown = folded(text, "/home/ada")
    assert shown[1:4] == ["a.py:3 in <module>", "    main()", "… 1 frame in asyncio …"]


@pytest.mark.parametrize("text", ["", "SyntaxError: what", "no traceback\nat all\n"])
def test_what_is_no_traceback_gives_no_error(text: str) -> None:
    assert len(folded(text)) <= 2


@pytest.mark.parametrize(
    ("file", "library"),
    [
        ("/home/ada/train.py", None),
        ("/home/ada/lib/net.py", None),
        ("train.py", None),
        ("<string>", None),
        ("/env/lib/python3.12/site-packages/torch/nn/module.py", "torch"),
        ("/usr/lib/python3/dist-packages/six.py", "six"),
        ("/root/.pyenv/versions/3.11.7/lib/python3.11/concurrent/futures/thread.py", "concurrent"),
        ("/usr/lib/python3.11/threading.py", "threading"),
        ("<frozen runpy>", "runpy"),
        (r"C:\Users\ada\AppData\Local\Programs\Python\Python311\Lib\runpy.py", "runpy"),
        (r"C:\proj\.venv\Lib\site-packages\numpy\linalg\_linalg.py", "numpy"),
    ],
)
def test_the_library_of_a_file(file: str, library: str | None) -> None:
    assert library_of(file) == library
