"""The two tools, as their users run them: nothing but the node's address is said."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .build import REPOSITORY
from .processes import Failure, tail

TIMED = Path(__file__).with_name("timed.py")

STEPS = ("first", "unchanged", "diff", "dump")
"""A first sync into an empty node, another of the same file, what a changed file would change, and what the node has."""


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    seconds: float
    processor_seconds: float
    peak_bytes: int
    """The most memory that was resident."""


@dataclass(frozen=True)
class Tool:
    """One of them."""

    name: str
    program: Path
    arguments: dict[str, tuple[str, ...]]
    """By step, before the file."""
    environment: dict[str, str]
    says: dict[str, str]
    """How it tells what it did, by step: a pattern, `{}` for the count of a first sync or a diff."""

    def run(self, step: str, file: Path, log: Path) -> Cost:
        """Runs a step on a file; fails unless the tool says that it did what the step is."""
        command = [sys.executable, "-I", "-S", str(TIMED), str(log), str(self.program), *self.arguments[step], str(file)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DECK_", "KONGCTL_"))}
        done = subprocess.run(command, env=inherited | self.environment, cwd=log.parent, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{self.name} could not be started:\n{done.stderr}")
        status, seconds, processor_seconds, kibibytes = done.stdout.split()
        if int(status) != 0:
            raise Failure(f"{self.name}: {step} ended with {status}:\n{tail(log)}")
        return Cost(float(seconds), float(processor_seconds), int(kibibytes) * 1024)

    def claims(self, step: str, count: int, log: Path) -> None:
        """Fails unless the last run told that it did this."""
        pattern = self.says[step].format(f"{count:,}|{count}")
        if re.search(rf"\b(?:{pattern})", log.read_text(errors="replace")) is None:
            raise Failure(f"{self.name} does not say {pattern} after {step}:\n{tail(log)}")


def deck(url: str, home: Path) -> Tool:
    """decK where the tests' set-up builds it, with its default settings, but for what it would tell its vendor."""
    program = REPOSITORY / ".cache" / "deck"
    if not program.is_file():
        raise Failure("there is no .cache/deck: `tests/setup.sh need_deck` builds it, with Go")
    at = ("--kong-addr", url)
    return Tool(
        "decK",
        program,
        {
            "first": ("gateway", "sync", *at),
            "unchanged": ("gateway", "sync", *at),
            "diff": ("gateway", "diff", *at),
            "dump": ("gateway", "dump", *at, "--yes", "-o"),
        },
        {"HOME": str(home), "DECK_ANALYTICS": "off"},
        {
            "first": r"Created: (?:{})\s+Updated: 0\s+Deleted: 0",
            "unchanged": r"Created: 0\s+Updated: 0\s+Deleted: 0",
            "diff": r"Created: 0\s+Updated: (?:{})\s+Deleted: 0",
        },
    )


def deck_version(tool: Tool) -> str:
    """The version that set-up built: a build from a module does not know its own."""
    return tool.program.with_suffix(".version").read_text().strip()


def kongctl(program: Path, url: str, home: Path) -> Tool:
    """Ours, with its default settings."""
    at = ("--admin-url", url)
    return Tool(
        "kongctl",
        program,
        {
            "first": ("sync", "--yes", *at),
            "unchanged": ("sync", "--yes", *at),
            "diff": ("diff", *at),
            "dump": ("dump", *at, "-o"),
        },
        {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config"), "NO_COLOR": "1"},
        {
            "first": "(?:{}) done, 0 unchanged",
            "unchanged": "No changes",
            "diff": "0 to create, (?:{}) to update, 0 to delete",
        },
    )
