"""Ids and names, made without asking anyone.

An id is a UUID of version 7 (RFC 9562, section 5.7) as 32 hexadecimal characters: it sorts by the
time it was made, to the millisecond. A name is three words derived from the id, for people.
"""

import hashlib
import os
import re
import time
from zlib import crc32

ADJECTIVES = [
    "amber",
    "brisk",
    "calm",
    "clever",
    "cosmic",
    "crisp",
    "daring",
    "deft",
    "eager",
    "early",
    "fabled",
    "fair",
    "fierce",
    "fleet",
    "gentle",
    "gilded",
    "glad",
    "golden",
    "grand",
    "happy",
    "hardy",
    "hidden",
    "honest",
    "humble",
    "icy",
    "jolly",
    "keen",
    "kind",
    "lively",
    "lofty",
    "loyal",
    "lucid",
    "lucky",
    "lunar",
    "mellow",
    "merry",
    "mighty",
    "misty",
    "modest",
    "neat",
    "nimble",
    "noble",
    "patient",
    "placid",
    "plucky",
    "polar",
    "proud",
    "quick",
    "quiet",
    "rapid",
    "rustic",
    "sharp",
    "silent",
    "silver",
    "sleek",
    "snowy",
    "solar",
    "spry",
    "steady",
    "sunny",
    "swift",
    "tidy",
    "vivid",
]
ANIMALS = [
    "albatross",
    "badger",
    "beaver",
    "bison",
    "bittern",
    "buzzard",
    "caribou",
    "cheetah",
    "cormorant",
    "crane",
    "curlew",
    "dingo",
    "dolphin",
    "dunlin",
    "eagle",
    "egret",
    "elk",
    "falcon",
    "ferret",
    "finch",
    "fox",
    "gannet",
    "gazelle",
    "gecko",
    "gibbon",
    "goshawk",
    "grebe",
    "hare",
    "heron",
    "hoopoe",
    "ibex",
    "ibis",
    "jackal",
    "jay",
    "kestrel",
    "kite",
    "lapwing",
    "lark",
    "lemur",
    "linnet",
    "lynx",
    "marten",
    "merlin",
    "mink",
    "mole",
    "moose",
    "newt",
    "ocelot",
    "orca",
    "osprey",
    "otter",
    "owl",
    "petrel",
    "pika",
    "plover",
    "puffin",
    "quail",
    "raven",
    "robin",
    "salmon",
    "seal",
    "stoat",
    "swallow",
    "swift",
]

_NOT_IN_FOLDER_NAMES = re.compile(r"[^\w.\-]+")


def new_id() -> str:
    """A new UUIDv7, as 32 hexadecimal characters."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    high, low = random >> 64 & 0xFFF, random & 0x3FFF_FFFF_FFFF_FFFF
    return f"{milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low:032x}"


def derived_id(*parts: str) -> str:
    """An id for what has none of ours: the same for the same parts, at every scan and import."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def name_for(run_id: str) -> str:
    """A readable name such as ``brisk-heron-42``, always the same for the same id."""
    # Not the id itself: the ids of one moment begin alike.
    bits = crc32(run_id.encode())
    bits, number = divmod(bits, 100)
    bits, animal = divmod(bits, len(ANIMALS))
    return f"{ADJECTIVES[bits % len(ADJECTIVES)]}-{ANIMALS[animal]}-{number}"


def folder_name(name: str) -> str:
    """`name` as a folder name: letters, digits, ``_ . -``; never hidden, empty or a path."""
    plain = _NOT_IN_FOLDER_NAMES.sub("-", name).strip("-.")
    return plain[:80] or "experiment"
