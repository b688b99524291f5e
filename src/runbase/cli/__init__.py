"""The command line: one module per command; `app` lists the commands."""

import gc


def main() -> None:
    """Run the `runbase` program."""
    gc.disable()  # until the command begins: collections of what is imported take 100 ms and free nothing
    from runbase.cli.app import main as run

    run()
