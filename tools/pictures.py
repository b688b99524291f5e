"""Draws the pictures of the documentation from real commands: `python tools/pictures.py`.

It follows the tutorial in a temporary folder, up to its first picture, and writes docs/images. Terminal output
becomes SVG with text that can be selected. The pictures of a notebook and of the web page need Chromium, and are left out without
it; those of the page also need the built page. `python tools/pictures.py page` draws those of the page only.
"""

import base64
import html
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

import runbase

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.pages import blocks_of, path_with_programs  # noqa: E402
from tools import page_pictures  # noqa: E402

IMAGES = ROOT / "docs" / "images"
TUTORIAL = ROOT / "docs" / "tutorial" / "ten-minutes.md"
PLACE = "/home/ada/tutorial"
"""What the pictures show instead of the temporary folder."""
SCALE = 0.6
"""Pixels for a unit of rich's pictures, whose letters are 20 units high."""
LARGEST = 150_000
"""Bytes that a picture may have."""
WIDTH = 112
"""Columns of the terminal; less are drawn if the output is narrower."""
COMMANDS = {
    "runs": ["runbase", "runs"],
    "show": ["runbase", "show", "wide", "--lines", "4"],
    "plot": ["runbase", "plot", "train/loss", "wide"],
    "compare": ["runbase", "compare", "medium", "wide", "wide-fast"],
}
"""Picture → command. The command of the picture of SQL is that of the tutorial."""

COLORS = (
    "24292f cf222e 116329 9a6700 0969da 8250df 1b7c83 6e7781",
    "57606a a40e26 1a7f37 633c01 218bff a475f9 3192aa 8c959f",
)
"""The 8 normal and the 8 bright colors of the terminal."""
NORMAL, BRIGHT = ([tuple(bytes.fromhex(c)) for c in line.split()] for line in COLORS)
THEME = TerminalTheme((255, 255, 255), NORMAL[0], NORMAL, BRIGHT)
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
{styles}
</style>
{chrome}
<rect x="1" y="1" width="99.8%" height="99.6%" rx="8" fill="none" stroke="#d0d7de" stroke-width="1.5"/>
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
"""rich's format of an SVG without its web font: a page fetches nothing from elsewhere."""

PAGE = """<meta charset="utf-8"><style>
body {{ font: 14px/1.5 "DejaVu Sans", sans-serif; margin: 16px; color: #24292f; width: 800px; }}
pre {{ font: 13px/1.5 "DejaVu Sans Mono", monospace; background: #f6f8fa; border: 1px solid #d0d7de;
border-radius: 4px; padding: 8px 12px; margin: 8px 0 8px; }}
div {{ margin: 0 0 12px 12px; }}
img {{ width: 620px; }}
</style>{cells}"""


def main() -> None:
    """Write the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "tutorial"
        folder.mkdir()
        os.chdir(folder)
        for name in [name for name in os.environ if name.startswith(("RUNBASE_", "SLURM_"))]:
            del os.environ[name]
        os.environ |= {"PATH": path_with_programs(), "HOME": place, "LOGNAME": "ada"}
        _prepare()
        if "page" not in sys.argv[1:]:
            _draw_terminal_and_notebook(folder)
        if page_pictures.can_draw():
            _lose_a_run()
            page_pictures.draw(folder / ".runbase", lambda name, data: _write(IMAGES / name, data))


def _draw_terminal_and_notebook(folder: Path) -> None:
    commands = {**COMMANDS, "sql": shlex.split(_query())}
    for name, command in commands.items():
        _write(IMAGES / f"{name}.svg", _terminal(command, folder).encode())
    if (chromium := shutil.which("chromium") or shutil.which("google-chrome")) is not None:
        _write(IMAGES / "notebook.png", _notebook(chromium, folder))


def _write(path: Path, data: bytes) -> None:
    if len(data) > LARGEST:
        raise SystemExit(f"{path.name} has {len(data):,} bytes; at most {LARGEST:,} are allowed")
    path.write_bytes(data)
    print(f"wrote {path.relative_to(ROOT)}, {len(data):,} bytes")


def _prepare() -> None:
    """Write the script of the tutorial, and run it as the tutorial says."""
    for block in blocks_of(TUTORIAL):
        if block.title == "train.py":
            Path(block.title).write_text(block.text)
        elif block.text.startswith("python train.py"):
            subprocess.run(["bash", "-e", "-c", block.text], check=True, capture_output=True)


def _lose_a_run() -> None:
    """Run the script of the tutorial that kills itself."""
    [block] = [block for block in blocks_of(TUTORIAL) if block.title == "killed.py"]
    Path("killed.py").write_text(block.text)
    subprocess.run([sys.executable, "killed.py"], check=False, capture_output=True)


def _query() -> str:
    """Return the command of the tutorial that runs a query."""
    return next(b.text for b in blocks_of(TUTORIAL) if b.text.startswith("runbase sql"))


def _terminal(command: Sequence[str], folder: Path) -> str:
    """Return an SVG of a command and its output in a terminal."""
    output = _in_terminal(command).replace(str(folder), PLACE)
    output = re.sub(r"on \S+, process \d+", "on laptop, process 4711", output)
    lines = Text.from_ansi(output.rstrip()).split()
    for line in lines:
        line.rstrip()
    typed = _query().strip() if command[1] == "sql" else shlex.join(command)
    typed_lines = Text.assemble(("$ ", "bright_black"), (typed, "bold")).split()
    shown = [*typed_lines, Text(""), *lines]
    width = max(line.cell_len for line in shown) + 1
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=width, file=nowhere)
        for line in shown:
            console.print(line, soft_wrap=True)
    svg = console.export_svg(title="", theme=THEME, code_format=SVG, unique_id="t")
    unclipped = re.sub(r' clip-path="[^"]*"', "", svg)  # it cuts letters of the last line
    return _aligned(_sized(unclipped))


def _sized(svg: str) -> str:
    """Give the picture a size, so that all pictures have letters of one size."""

    def size(found: re.Match[str]) -> str:
        width, height = (round(float(number) * SCALE) for number in found.groups())
        return f'{found[0]} width="{width}" height="{height}"'

    return re.sub(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', size, svg, count=1)


def _aligned(svg: str) -> str:
    """Place each character of a text that is not ASCII: fonts draw braille and lines in other widths."""

    def place(found: re.Match[str]) -> str:
        x, length, text = float(found[1]), float(found[2]), html.unescape(found[3])
        if text.replace("\N{NO-BREAK SPACE}", " ").isascii():
            return found[0]
        places = " ".join(f"{x + length / len(text) * n:.4g}" for n in range(len(text)))
        return (
            found[0]
            .replace(f'x="{found[1]}" ', f'x="{places}" ')
            .replace(f' textLength="{found[2]}"', "")
        )

    return re.sub(
        r'<text [^>]*?x="([\d.]+)" [^>]*?textLength="([\d.]+)"[^>]*>(.*?)</text>', place, svg
    )


def _in_terminal(command: Sequence[str]) -> str:
    """Run a command in a terminal of its own, and return what it prints, with colors."""
    main_end, other_end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": "40"}
    process = subprocess.Popen(  # progress bars are on standard error, and are erased in the end
        command, stdin=other_end, stdout=other_end, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(other_end)
    parts: list[bytes] = []
    with suppress(OSError):  # the end of a terminal is an error on Linux
        while part := os.read(main_end, 65536):
            parts.append(part)
    os.close(main_end)
    if process.wait():
        raise SystemExit(f"{shlex.join(command)} failed:\n{b''.join(parts).decode()}")
    return b"".join(parts).decode().replace("\r\n", "\n")


def _notebook(chromium: str, folder: Path) -> bytes:
    """Return a picture of two cells of the tutorial with what a notebook displays for them."""
    with runbase.open() as store:
        comparison: Any = store.compare("small", "medium", "wide", "wide-fast")
        figure: Any = store.plot("val/loss", experiment="digits")
        plot = base64.b64encode(figure._repr_png_()).decode()
        cells = [
            ('store.compare("small", "medium", "wide", "wide-fast")', comparison._repr_html_()),
            (
                'store.plot("val/loss", experiment="digits")',
                f'<img src="data:image/png;base64,{plot}">',
            ),
        ]
    body = "".join(f"<pre>{html.escape(code)}</pre><div>{shown}</div>" for code, shown in cells)
    page, picture = folder / "page.html", folder / "page.png"
    page.write_text(PAGE.format(cells=body), "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = ["--window-size=840,1200", f"--screenshot={picture}", page.as_uri()]
    subprocess.run([chromium, *options, *size], check=True, capture_output=True)
    return _trimmed(picture)


def _trimmed(path: Path) -> bytes:
    """Return a picture as PNG with few colors and without the empty area around its content."""
    from PIL import Image, ImageChops

    with Image.open(path) as image:
        plain = image.convert("RGB")
    box = ImageChops.difference(plain, Image.new("RGB", plain.size, (255, 255, 255))).getbbox()
    assert box is not None
    left, top, right, bottom = box
    border = 12
    cut = plain.crop((max(left - border, 0), max(top - border, 0), right + border, bottom + border))
    cut.quantize(128).save(path, optimize=True)
    return path.read_bytes()


if __name__ == "__main__":
    main()
