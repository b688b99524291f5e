"""`python -m runbase.wandb script.py …`: run a program for which `import wandb` is `runbase.wandb`."""

import builtins
import runpy
import sys
from pathlib import Path
from types import ModuleType

from runbase.wandb.substitution import substitute

USAGE = """usage: python -m runbase.wandb SCRIPT [ARGUMENTS...]
       python -m runbase.wandb -m MODULE [ARGUMENTS...]

Run a program that uses W&B with runbase: `import wandb` is runbase.wandb.

Examples:
  python -m runbase.wandb train.py --lr 0.1
  python -m runbase.wandb -m lab.train --lr 0.1
"""


def main() -> None:
    """Run the program that the command line names."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        sys.exit(0 if arguments else 2)
    substitute()
    if arguments[0] == "-m":
        if len(arguments) < 2:
            print(USAGE, end="", file=sys.stderr)
            sys.exit(2)
        sys.argv = arguments[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    script = Path(arguments[0])
    if not script.exists():
        print(f"python -m runbase.wandb: there is no file {script}", file=sys.stderr)
        sys.exit(2)
    sys.argv = arguments
    sys.path[0] = str(script.resolve().parent)
    _run(script)


def _run(script: Path) -> None:
    """Run a script as the main module, which stays so at the exit: its name and file are recorded with the runs."""
    module = ModuleType("__main__")
    vars(module).update(__file__=str(script), __builtins__=builtins)
    sys.modules["__main__"] = module
    code = compile(script.read_bytes(), str(script), "exec")
    exec(code, vars(module))  # noqa: S102 (this is what the program is for)


if __name__ == "__main__":
    main()
