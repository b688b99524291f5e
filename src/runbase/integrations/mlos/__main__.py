"""Run the command line of mlos_bench, with `RunbaseStorage` registered in its configuration schema."""

import sys

from runbase.integrations.mlos.config import register


def main() -> None:
    """Run the command line."""
    from mlos_bench.run import _shell_main  # pyright: ignore[reportPrivateUsage]

    register()
    sys.exit(_shell_main())


if __name__ == "__main__":
    main()
