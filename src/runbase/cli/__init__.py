"""The command line: one module per command; `app` lists the commands."""


def main() -> None:
    """Run the `runbase` program."""
    from runbase.cli.app import main as run

    run()
