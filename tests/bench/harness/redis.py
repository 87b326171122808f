"""A Redis of our own, which keeps nothing, and what it says it was asked."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .processes import Failure, Process, listens, run


@dataclass(frozen=True)
class Redis:
    """A running one."""

    port: int

    def commands(self) -> Counter[str]:
        """How often each command has run so far, those inside of scripts included; our own questions are left out."""
        counted: Counter[str] = Counter()
        for line in self._info("commandstats").splitlines():
            # cmdstat_evalsha:calls=3,usec=84,usec_per_call=28.00,rejected_calls=0,failed_calls=0
            name, _, figures = line.removeprefix("cmdstat_").partition(":calls=")
            if figures and name != "info":
                counted[name] = int(figures.partition(",")[0])
        return counted

    def _info(self, section: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection, connection.makefile("rb") as answer:
            connection.sendall(f"INFO {section}\r\n".encode())
            # A bulk string: its length in a line of its own, then its bytes.
            head = answer.readline()
            if not head.startswith(b"$"):
                raise Failure(f"Redis answered INFO with {head!r}")
            return answer.read(int(head[1:])).decode()


def redis_version() -> str:
    """The version of `redis-server`."""
    # Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=…
    words = run("redis-server", "--version").decode().split()
    return next(word.removeprefix("v=") for word in words if word.startswith("v="))


@contextmanager
def redis(directory: Path, port: int) -> Iterator[Redis]:
    """Runs one on this port."""
    directory.mkdir()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory), "--save", "", "--appendonly", "no"]
    with Process("redis-server", *options, log=directory / "output.log") as process:
        process.wait_until(lambda: listens(("127.0.0.1", port)))
        yield Redis(port)
