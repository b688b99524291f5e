"""Processes that log runs, to be killed or to run beside each other."""

import os
import select
import subprocess
import time

LOGS = """
import os, sys, runbase
from runbase.run import background
background.EVERY = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
run = runbase.start_run('kill', capture=False)
os.write(1, (run.id + chr(10)).encode())
for step in range(10_000_000):
    run.log({'loss': step * 0.5, 'acc': step}, step=step)
    os.write(1, b'%d\\n' % step)
"""
MANY = """
import sys, runbase
number, steps = int(sys.argv[1]), int(sys.argv[2])
with runbase.start_run('many', name=f'run-{number}', capture=False) as run:
    for step in range(steps):
        run.log({'a': step, 'b': step * 0.5, 'c': -step, 'd': number}, step=step)
"""


def kill_after(process: "subprocess.Popen[bytes]", seconds: float) -> tuple[str, int]:
    """Read what a process acknowledges, and kill it after a while: its run, and the last step."""
    assert process.stdout is not None
    fd = process.stdout.fileno()
    received = bytearray()
    while b"\n" not in received:
        piece = os.read(fd, 1 << 16)
        assert piece, "the script ended before it said anything"
        received += piece
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            received += os.read(fd, 1 << 16)
    process.kill()
    while chunk := os.read(fd, 1 << 16):
        received += chunk
    process.wait()
    lines = bytes(received).rpartition(b"\n")[0].split(b"\n")
    return lines[0].decode(), int(lines[-1]) if len(lines) > 1 else -1
