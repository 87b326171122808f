"""Children that end with us, and what the kernel says about them."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

GRACE = 5.0
"""Seconds between asking a child to end and killing it."""

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """The measurement cannot go on; the text says why."""


def require_programs(names: Iterable[str]) -> None:
    """Fails if one of the programs is not on PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise Failure(f"not on PATH: {', '.join(missing)}")


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
    """Runs a command to its end; gives its stdout, or fails with all its output."""
    # A session of its own, here and below: Ctrl-C reaches us alone, and we end our children in order.
    done = subprocess.run(
        command, env=env, cwd=cwd, input=stdin, capture_output=True, timeout=120, check=False, start_new_session=True
    )
    if done.returncode != 0:
        output = (done.stdout + done.stderr).decode(errors="replace")
        raise Failure(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{output}")
    return done.stdout


class Process:
    """A child in the foreground, its output in a file; a context manager that ends it."""

    def __init__(self, *command: str | Path, log: Path):
        self.command, self.log = command, log

    def __enter__(self) -> "Process":
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.child.terminate()
        try:
            self.child.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    @property
    def pid(self) -> int:
        return self.child.pid

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Waits until `ready`; fails if the child ends before."""
        wait_until(ready, f"{self.command[0]} is not ready", alive=lambda: self.child.poll() is None, log=self.log)


def wait_until(
    ready: Callable[[], bool], problem: str, *, alive: Callable[[], bool] = lambda: True, log: Path, patience: float = 20.0
) -> None:
    """Looks until `ready`; after `patience` seconds, or when no longer `alive`, fails with the end of `log`."""
    deadline = time.monotonic() + patience
    while not ready():
        if not alive() or time.monotonic() > deadline:
            raise Failure(f"{problem}:\n{tail(log)}")
        time.sleep(0.05)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a text file."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)


def free_port() -> int:
    """A port on which nothing listened a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def listens(address: tuple[str, int] | Path) -> bool:
    """Whether a TCP address or a Unix socket accepts connections."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(address) if isinstance(address, Path) else address)
        except OSError:
            return False
    return True


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_seconds(pids: Iterable[int]) -> float:
    """The processor time, of user and kernel, that processes have used so far."""
    ticks = 0
    for pid in pids:
        # The name, in parentheses, may hold spaces; utime and stime are the 14th and 15th fields.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / CLOCK_TICKS


def become_idle(pids: list[int], patience: float) -> bool:
    """Waits until processes use less than a tenth of a processor; False if they still use more after so many seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = cpu_seconds(pids)
        time.sleep(0.3)
        if cpu_seconds(pids) - before < 0.03:
            return True
    return False


def resident_bytes(pids: Iterable[int]) -> int:
    """The memory that processes hold, without what is swapped out."""
    kibibytes = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kibibytes += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kibibytes * 1024


def end_on_signals() -> None:
    """Turns the first signal that asks us to end into an exit, so that every context manager cleans up."""

    def leave(number: int, _frame: object) -> None:
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in ENDING:
        signal.signal(number, leave)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Puts off signals that ask us to end: for steps that must not be left half done."""
    noted: list[int] = []
    usual = {number: signal.signal(number, lambda number, _: noted.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        if noted:
            signal.raise_signal(noted[0])
