"""The command line. One command a file; `app` lists them."""


def main() -> None:
    """The entry point of the `runbase` program."""
    from runbase.cli.app import main as run

    run()
