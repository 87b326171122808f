"""Rounds over all routes, so that whatever else the machine does falls on all alike."""

import statistics
import sys
from collections import Counter
from dataclasses import dataclass

from .kong import Kong, check
from .load import send
from .plugin_servers import PluginServer
from .processes import Failure, become_idle, cpu_seconds
from .redis import Redis
from .routes import Comparison, Route

SETTLING = 5.0
"""Seconds that Kong may take to finish what a run left to its timers, such as the log phase."""


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    rounds: int
    seconds: int
    warm_up: int


@dataclass(frozen=True)
class Sample:
    """One run on one route."""

    rate: float
    """Requests a second."""
    p99_milliseconds: float
    kong_microseconds: float
    """Processor time of Kong's worker, for each request."""
    server_microseconds: float | None
    """The same of the plugin server; None without one."""
    requests: int
    redis_commands: Counter[str]
    """How often Redis ran each command meanwhile; empty where the route has nothing to do with Redis."""


@dataclass(frozen=True)
class Spread:
    """The median of some figures, the least and the greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, figures: list[float]) -> "Spread":
        return cls(statistics.median(figures), min(figures), max(figures))


class Results:
    """The samples of each route, in the order of the rounds."""

    def __init__(self) -> None:
        self.samples: dict[str, list[Sample]] = {}

    def add(self, route: Route, sample: Sample) -> None:
        self.samples.setdefault(route.name, []).append(sample)

    def spread(self, route: str, figure: str) -> Spread:
        """Of one figure of [`Sample`] over the rounds."""
        return Spread.of([getattr(sample, figure) for sample in self.samples[route]])

    def redis_commands(self, route: str) -> tuple[int, Counter[str]]:
        """The requests of all rounds, and what Redis ran during them."""
        samples = self.samples[route]
        return sum(sample.requests for sample in samples), sum((sample.redis_commands for sample in samples), Counter())

    def ratio(self, comparison: Comparison) -> Spread:
        """Of the two rates within each round: what changes between rounds cancels out."""
        return Spread.of([measured.rate / against.rate for measured, against in self._pairs(comparison)])

    def ratio_by_kong(self, comparison: Comparison) -> Spread:
        """What the ratio would be if nothing but the processor time of Kong's worker bounded the rates."""
        return Spread.of(
            [against.kong_microseconds / measured.kong_microseconds for measured, against in self._pairs(comparison)]
        )

    def _pairs(self, comparison: Comparison) -> list[tuple[Sample, Sample]]:
        return list(zip(self.samples[comparison.measured], self.samples[comparison.against], strict=True))


@dataclass(frozen=True)
class Running:
    """All that takes part in answering a request."""

    kong: Kong
    servers: dict[str, PluginServer]
    redis: Redis | None
    """None if no route needs it."""


def measure(running: Running, routes: list[Route], plan: Plan) -> Results:
    """Checks each route, warms each up, then loads one after another, round by round."""
    for route in routes:
        path = f"/{route.name}"
        check(running.kong, path, route.request, expected=route.expected, shows=route.shows, guarded=route.guarded)
    for route in routes:
        note(f"warm-up: {route.name}")
        sample(running, route, plan.warm_up)
    results = Results()
    for number in range(plan.rounds):
        # Each round starts elsewhere: no route is always the one after the same.
        first = number * len(routes) // plan.rounds
        for route in routes[first:] + routes[:first]:
            taken = sample(running, route, plan.seconds)
            note(f"round {number + 1} of {plan.rounds}: {route.name}: {taken.rate:,.0f}/s")
            results.add(route, taken)
    return results


def sample(running: Running, route: Route, seconds: int) -> Sample:
    """Loads one route and waits until Kong has finished with it."""
    kong = running.kong
    server = running.servers[route.server].pid if route.server else None
    redis = running.redis if route.redis_commands is not None else None
    asked_before = redis.commands() if redis else Counter()
    kong_before = cpu_seconds(kong.workers)
    server_before = cpu_seconds([server]) if server else 0.0
    outcome = send(kong.url(f"/{route.name}"), route.request, route.expected, seconds)
    settle(kong)
    asked = redis.commands() - asked_before if redis else Counter()
    if asked.total() < outcome.requests * (route.redis_commands or 0):
        raise Failure(f"{route.name}: {outcome.requests} requests, but Redis ran {asked.total()} commands: who counted?")
    share = 1e6 / outcome.requests
    return Sample(
        outcome.rate,
        outcome.p99_milliseconds,
        (cpu_seconds(kong.workers) - kong_before) * share,
        (cpu_seconds([server]) - server_before) * share if server else None,
        outcome.requests,
        asked,
    )


def settle(kong: Kong) -> None:
    """Waits until Kong is idle: the rest of one run must not burden the next."""
    if not become_idle(kong.workers, SETTLING):
        raise Failure(f"Kong is still busy {SETTLING:.0f} seconds after a run:\n{kong.last_words()}")


def note(text: str) -> None:
    """Says on stderr where we are."""
    print(text, file=sys.stderr, flush=True)
