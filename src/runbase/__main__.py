"""`python -m runbase`."""

from runbase.cli import main

if __name__ == "__main__":
    main()
