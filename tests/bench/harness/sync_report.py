"""The report on both tools, as Markdown."""

from dataclasses import dataclass

from .measure import Spread
from .sync import Figures
from .tools import STEPS, Tool

MEGABYTE = 1_000_000

ABOUT = {
    "first": "first sync",
    "unchanged": "unchanged sync",
    "diff": "diff, 1 % changed",
    "dump": "dump",
}


@dataclass(frozen=True)
class Conditions:
    """What a reader must know to believe the figures."""

    product: str
    deck: str
    kong: str
    postgres: str
    cores: int
    load_average: float
    """Of the last minute before the measurement: what else the machine did."""
    rounds: dict[int, int]
    """By size."""


def conditions(known: Conditions) -> str:
    rounds = ", ".join(f"{count} at {size:,}" for size, count in known.rounds.items())
    return "\n".join(
        [
            f"kongctl {known.product} beside decK {known.deck}, each with its default settings, on Kong {known.kong} with two nginx "
            f"workers and {known.postgres}.",
            f"Rounds: {rounds} entities; all on {known.cores} cores, load average {known.load_average:.1f} before.",
            "Median (least–greatest). A ratio is decK's by kongctl's of the same round. Absolute figures belong to this run.",
        ]
    )


def table(figures: Figures, sizes: list[int], ours: Tool, theirs: Tool) -> str:
    """Time and memory of each step."""
    lines = [
        "| entities | | decK s | kongctl s | times as fast | decK MB | kongctl MB | of decK's memory |",
        "|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for size in sizes:
        for step in STEPS:
            seconds = [spread(figures.spread(size, step, tool.name, "seconds"), ".2f") for tool in (theirs, ours)]
            faster = spread(figures.ratio(size, step, "seconds", ours, theirs), ".1f")
            megabytes = [figures.spread(size, step, tool.name, "peak_bytes").median / MEGABYTE for tool in (theirs, ours)]
            share = 1 / figures.ratio(size, step, "peak_bytes", ours, theirs).median
            lines.append(
                f"| {size:,} | {ABOUT[step]} | {seconds[0]} | {seconds[1]} | {faster} "
                f"| {megabytes[0]:.0f} | {megabytes[1]:.0f} | {share:.2f} |"
            )
    return "\n".join(lines)


def requirements(figures: Figures, size: int, required: dict[str, float], ours: Tool, theirs: Tool) -> tuple[str, bool]:
    """What was required at the largest size, and whether all of it was reached."""
    lines = [f"| at {size:,} entities | decK's by kongctl's | required | |", "|---|--:|--:|---|"]
    reached = True
    for name, least in required.items():
        ratio = named_ratio(figures, size, name, ours, theirs)
        enough = ratio.median >= least
        reached &= enough
        lines.append(f"| `{name}` | {spread(ratio, '.2f')} | ≥ {least:g} | {'reached' if enough else 'MISSED'} |")
    return "\n".join(lines), reached


def named_ratio(figures: Figures, size: int, name: str, ours: Tool, theirs: Tool) -> Spread:
    """`first`: of its time; `first-memory`: of its memory."""
    step, _, memory = name.partition("-")
    return figures.ratio(size, step, "peak_bytes" if memory else "seconds", ours, theirs)


NAMES = [name for step in STEPS for name in (step, f"{step}-memory")]


def spread(figures: Spread, form: str) -> str:
    return f"{figures.median:{form}} ({figures.least:{form}}–{figures.greatest:{form}})"
