"""Load by wrk: one thread, a fixed number of connections, each sending its next request as soon as it has its answer."""

import json
from dataclasses import dataclass
from pathlib import Path

from .processes import Failure, run

CONNECTIONS = 32


@dataclass(frozen=True)
class Request:
    """What wrk sends, again and again."""

    headers: tuple[str, ...] = ()
    """Lines such as `apikey: x`."""
    body: str | None = None
    """A JSON text makes it a POST."""


@dataclass(frozen=True)
class Outcome:
    """What wrk saw."""

    requests: int
    seconds: float
    p99_milliseconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def send(url: str, request: Request, expected: int, seconds: int) -> Outcome:
    """Loads `url` for some seconds; fails if an answer had another status than is expected: errors are no throughput."""
    command = ["wrk", "--threads=1", f"--connections={CONNECTIONS}", f"--duration={seconds}s", "--timeout=5s"]
    command += [f"--header={header}" for header in request.headers]
    command += [f"--script={Path(__file__).with_suffix('.lua')}", url, "--", str(expected)]
    if request.body is not None:
        command += ["POST", request.body]
    seen = json.loads(run(*command).splitlines()[-1])
    if seen["unexpected"] or seen["broken"] or not seen["requests"]:
        raise Failure(
            f"{url}: of {seen['requests']} requests {seen['unexpected']} were not answered with {expected}, "
            f"{seen['broken']} broke"
        )
    return Outcome(seen["requests"], seen["microseconds"] / 1e6, seen["p99_microseconds"] / 1e3)
