"""A real Slurm on one node: munged, slurmctld and slurmd in a temporary folder, with sockets and ports of their own."""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PATIENCE = 180.0
"""Seconds to wait for a condition: Slurm looks at time limits every 30 seconds."""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
CONFIG = """
ClusterName=runbase
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=2
"""


def wait_until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Wait until a condition holds; an AssertionError says what there is instead."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(what())
        time.sleep(0.1)


class Cluster:
    """A running Slurm; `SLURM_CONF` in the environment of its clients is the path of its configuration."""

    def __init__(self) -> None:
        missing = [name for name in PROGRAMS if _program(name) is None]
        if missing:
            raise AssertionError(
                f"these programs are missing: {', '.join(missing)}; "
                "apt-get install slurmctld slurmd slurm-client munge"
            )
        self.folder = Path(tempfile.mkdtemp(prefix="slurm"))
        self.folder.chmod(0o755)  # munged refuses a socket that others cannot reach
        self.config = self.folder / "slurm.conf"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the daemons, and wait until the node takes jobs."""
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir()
        self.config.write_text(
            CONFIG.format(
                host=socket.gethostname().split(".")[0],
                controller_port=_free_port(),
                node_port=_free_port(),
                folder=self.folder,
                user=getpass.getuser(),
            )
        )
        munge = self.folder / "munge"
        (munge / "key").write_bytes(secrets.token_bytes(128))
        (munge / "key").chmod(0o400)
        files = (f"--{name}-file={munge / name}" for name in ("key", "pid", "seed", "log"))
        self._run("munged", "--foreground", f"--socket={munge / 'socket'}", *files)
        wait_until((munge / "socket").exists, self.logs)
        self._run("slurmctld", "-D", "-f", str(self.config))
        self._run("slurmd", "-D", "-f", str(self.config))
        wait_until(
            lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T", check=False), self.logs
        )

    def stop(self) -> None:
        """Cancel all jobs, stop the daemons, and remove the folder."""
        self.ask("scancel", "--state=PENDING", check=False)
        self.ask("scancel", "--state=RUNNING", check=False)
        with suppress(AssertionError):
            wait_until(lambda: not self.ask("squeue", "--noheader", check=False), self.logs)
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *command: str, check: bool = True, cwd: Path | None = None) -> str:
        """Run one of Slurm's commands and return its output.

        Args:
            command: the program and its arguments.
            check: whether a failure raises an AssertionError.
            cwd: the working folder.
        """
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=cwd, env=self.environment(), check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr}\n{self.logs()}"
        return done.stdout.strip()

    def environment(self) -> dict[str, str]:
        """Return the environment of a client."""
        return {**os.environ, "SLURM_CONF": str(self.config)}

    def state(self, job: str) -> str:
        """Return the state of a job, or of the first task of an array."""
        return self.ask(
            "squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T"
        ).partition("\n")[0]

    def logs(self) -> str:
        """Return the ends of the logs of the daemons, and the queue."""
        texts = [self.ask("squeue", "--states=all", check=False)]
        for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")]):
            texts.append(f"{path.name}:\n{path.read_text(errors='replace')[-3000:]}")
        return "\n".join(texts)

    def _run(self, program: str, *arguments: str) -> None:
        path = _program(program)
        assert path is not None
        with (self.folder / f"{program}.out").open("wb") as output:
            self._processes.append(
                subprocess.Popen(
                    [path, *arguments], stdout=output, stderr=output, env=self.environment()
                )
            )


def _program(name: str) -> str | None:
    """Return the path of a program; daemons are in folders that are not in everyone's PATH."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
