"""Tables of figures, for the terminal and for the docs."""

from rich.console import Console
from rich.table import Table


def print_table(head: list[str], body: list[list[str]], *, markdown: bool, width: int) -> None:
    """For the terminal, or for the docs."""
    if markdown:
        print("| " + " | ".join(head) + " |")
        print("|" + "---|" * len(head))
        print("\n".join("| " + " | ".join(row) + " |" for row in body))
        return
    table = Table(box=None, header_style="bold")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in body:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, width)
    console.print(table)


def text(value: float) -> str:
    """A figure for reading."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"
