"""GoodSeed."""
