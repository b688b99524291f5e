"""The command line of mlos_bench with runbase's storage known to its schema of configuration files."""

import sys


def main() -> None:
    """Run it."""
    from mlos_bench.run import _shell_main  # pyright: ignore[reportPrivateUsage]

    sys.exit(_shell_main())


if __name__ == "__main__":
    main()
