"""Rounds of both tools on one node, by turns, each run's result looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .database import Node
from .entities import SHARES, Sizes, configuration, yaml
from .measure import Spread, note
from .processes import Failure, become_idle, tail
from .tools import STEPS, Cost, Tool

SETTLING = 120.0
"""Seconds that Kong may take to come to rest after thousands of writes."""


class Figures:
    """What each run took, in the order of the rounds."""

    def __init__(self) -> None:
        self.costs: dict[tuple[int, str, str], list[Cost]] = {}

    def add(self, size: int, step: str, tool: str, cost: Cost) -> None:
        self.costs.setdefault((size, step, tool), []).append(cost)

    def spread(self, size: int, step: str, tool: str, figure: str) -> Spread:
        """Of one figure of [`Cost`] over the rounds."""
        return Spread.of([getattr(cost, figure) for cost in self.costs[size, step, tool]])

    def ratio(self, size: int, step: str, figure: str, measured: Tool, against: Tool) -> Spread:
        """How many times as much the other takes, round by round: what changes between rounds cancels out."""
        pairs = zip(self.costs[size, step, against.name], self.costs[size, step, measured.name], strict=True)
        return Spread.of([getattr(theirs, figure) / getattr(ours, figure) for theirs, ours in pairs])


@dataclass(frozen=True)
class Files:
    """What one size is measured with."""

    sizes: Sizes
    file: Path
    changed: Path
    log: Path

    @classmethod
    def write(cls, directory: Path, sizes: Sizes) -> "Files":
        directory.mkdir(parents=True)
        files = cls(sizes, directory / "kong.yml", directory / "changed.yml", directory / "log")
        files.file.write_text(yaml(configuration(sizes, changed=False)))
        files.changed.write_text(yaml(configuration(sizes, changed=True)))
        return files

    def dump(self, tool: Tool) -> Path:
        return self.file.with_name(f"{tool.name}.yml")


def measure(node: Node, tools: list[Tool], files: Files, rounds: int) -> Iterator[tuple[str, Tool, Cost]]:
    """One size: in each round every step by every tool, whoever was first before being last now."""
    expected: dict[str, list[Any]] | None = None
    dumps: dict[str, str] = {}
    for number in range(rounds):
        turns = tools[number % 2 :] + tools[: number % 2]
        for tool in turns:
            node.empty()
            settle(node)
            cost = tool.run("first", files.file, files.log)
            tool.claims("first", files.sizes.entities, files.log)
            state = node.state()
            check(tool, files, state, expected)
            expected = state
            told(files, number, "first", tool, cost)
            yield "first", tool, cost
        for step in STEPS[1:]:
            for tool in turns:
                settle(node)
                file = {"unchanged": files.file, "diff": files.changed, "dump": files.dump(tool)}[step]
                # Only what this run writes counts.
                files.dump(tool).unlink(missing_ok=True)
                cost = tool.run(step, file, files.log)
                if step == "dump":
                    check_dump(tool, files, dumps)
                else:
                    tool.claims(step, files.sizes.changed, files.log)
                told(files, number, step, tool, cost)
                yield step, tool, cost
        check(turns[-1], files, node.state(), expected)


def check(tool: Tool, files: Files, state: dict[str, list[Any]], expected: dict[str, list[Any]] | None) -> None:
    """Fails unless the node has what it should have: of each kind as many, and what it had after every other run."""
    for path, list_ in state.items():
        kind = {"key-auths": "keyauth_credentials"}.get(path, path)
        if len(list_) != files.sizes.of(kind):
            raise Failure(f"{tool.name} left {len(list_)} {path}, not {files.sizes.of(kind)}")
    if sum(map(len, state.values())) != files.sizes.entities or len(state) != len(SHARES):
        raise Failure(f"{tool.name} left {sum(map(len, state.values()))} entities, not {files.sizes.entities}")
    if expected is not None and state != expected:
        raise Failure(f"{tool.name} left another state than the run before")


def check_dump(tool: Tool, files: Files, dumps: dict[str, str]) -> None:
    """The first dump must say what the node has, by the tool's own word; those that follow, the same."""
    text = "\n".join(sorted(files.dump(tool).read_text().splitlines()))
    if tool.name not in dumps:
        tool.run("diff", files.dump(tool), files.log)
        tool.claims("unchanged", 0, files.log)
    elif dumps[tool.name] != text:
        raise Failure(f"{tool.name}: another dump than in the round before")
    dumps[tool.name] = text


def settle(node: Node) -> None:
    """Waits until Kong is idle: it builds its router anew after changes, and that must not burden the next run."""
    if not become_idle(node.workers, SETTLING):
        raise Failure(f"Kong is still busy {SETTLING:.0f} seconds after a run:\n{tail(node.log)}")


def told(files: Files, number: int, step: str, tool: Tool, cost: Cost) -> None:
    note(f"{files.sizes.entities} entities, round {number + 1}: {step}: {tool.name}: {cost.seconds:.2f} s, {cost.peak_bytes / 1e6:.0f} MB")
