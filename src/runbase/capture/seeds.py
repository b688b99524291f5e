"""The states of random number generators at the start of a run, so that a reproduction begins with the same ones.

A state is that of `random`, of NumPy's global generator, and of PyTorch's on the CPU, as far as they are imported. Generators
that a script makes itself, as `numpy.random.default_rng(0)`, are made again by the script.
"""

import base64
import random
import struct
import sys
from pathlib import Path
from typing import Any

import msgspec

NAME = "seeds.json"
"""The file in the folder of a run."""
STATE = "RUNBASE_SEEDS"
"""The path of such a file, from which the first run of a process sets the states: `runbase reproduce` sets it."""


def states() -> dict[str, Any]:
    """Return the states now: generator → plain objects. `random` takes about 20 µs, NumPy 35 µs."""
    found: dict[str, Any] = {"random": random.getstate()}
    if (numpy := sys.modules.get("numpy.random")) is not None:
        found["numpy"] = numpy.get_state()
    elif "numpy" in sys.modules:
        found["later"] = [
            "numpy"
        ]  # its generator is made at first use; to make it here takes 20 ms
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "get_rng_state"):
        found["torch"] = (torch.initial_seed(), torch.get_rng_state())
    return found


def write(found: dict[str, Any], folder: Path) -> None:
    """Write states into the folder of a run."""
    plain: dict[str, Any] = {}
    version, words, gauss = found["random"]
    plain["random"] = {"version": version, "words": _packed(words), "gauss": gauss}
    if "numpy" in found:
        kind, keys, place, has_gauss, cached = found["numpy"]
        plain["numpy"] = {"kind": kind, "keys": _packed(keys.tolist()), "place": place}
        plain["numpy"] |= {"has_gauss": has_gauss, "cached": cached}
    plain["later"] = found.get("later", [])
    if "torch" in found:
        seed, state = found["torch"]
        plain["torch"] = {"seed": seed, "state": base64.b64encode(bytes(state.tolist())).decode()}
    (folder / NAME).write_bytes(msgspec.json.encode(plain))


def not_captured(path: Path) -> list[str]:
    """Return the generators that a file of states lacks because they were made after the start of the run."""
    try:
        return list(msgspec.json.decode(path.read_bytes()).get("later", []))
    except (OSError, ValueError):
        return []


def restore(path: Path) -> list[str]:
    """Set the generators to the states in a file.

    Returns:
        The generators that were set: those that are imported.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged.
    """
    plain: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    done: list[str] = []
    if kept := plain.get("random"):
        random.setstate((kept["version"], _unpacked(kept["words"]), kept["gauss"]))
        done.append("random")
    if (kept := plain.get("numpy")) and (numpy := sys.modules.get("numpy")) is not None:
        keys = numpy.array(_unpacked(kept["keys"]), dtype=numpy.uint32)
        state = (kept["kind"], keys, kept["place"], kept["has_gauss"], kept["cached"])
        numpy.random.set_state(state)
        done.append("numpy")
    if (kept := plain.get("torch")) and (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(kept["seed"])
        raw = base64.b64decode(kept["state"])
        torch.set_rng_state(torch.tensor(list(raw), dtype=torch.uint8))
        done.append("torch")
    return done


def _packed(words: Any) -> str:
    return base64.b64encode(struct.pack(f"<{len(words)}I", *words)).decode()


def _unpacked(text: str) -> tuple[int, ...]:
    raw = base64.b64decode(text)
    return struct.unpack(f"<{len(raw) // 4}I", raw)
