"""The report on streams, as Markdown."""

import statistics
from dataclasses import dataclass

from .streams import FirstByte, Held, Memory

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Conditions:
    """What a reader must know to believe the figures."""

    product: str
    kong: str
    cores: int
    load_average: float
    """Of the last minute before the measurement: what else the machine did."""
    complaints: int
    """Errors in Kong's log."""
    pairs: int
    hold: int
    """Seconds."""


def conditions(known: Conditions) -> str:
    return "\n".join(
        [
            f"Version {known.product} on Kong {known.kong}, one nginx worker, DB-less, with the sample LLM.",
            f"{known.pairs} pairs of streams one at a time, then streams of {known.hold} s at once, "
            f"all on {known.cores} cores, load average {known.load_average:.1f} before.",
            f"Errors in Kong's log: {known.complaints}. Absolute figures belong to this run.",
        ]
    )


def first_byte(times: FirstByte) -> str:
    lines = ["| to the first byte | median ms | tenth | nine tenths |", "|---|--:|--:|--:|"]
    rows = {
        "no plugin": times.plain,
        "llm-rate-limiting, tokens by address, usage tap": times.limited,
        "added, pair by pair": times.added,
    }
    for about, milliseconds in rows.items():
        tenths = statistics.quantiles(milliseconds, n=10, method="inclusive")
        lines.append(f"| {about} | {statistics.median(milliseconds):.2f} | {tenths[0]:.2f} | {tenths[-1]:.2f} |")
    return "\n".join(lines)


def memory(held: Held) -> str:
    def row(about: str, of: Memory) -> str:
        figures = (of.before, of.peak, of.after)
        return f"| {about} | " + " | ".join(f"{bytes_ / MEGABYTE:.1f}" for bytes_ in figures) + " |"

    lines = [
        f"{held.streams:,} streams open at once, {held.reservations:,} reservations; all ended well, "
        f"and {held.tokens:,} tokens were charged: what the provider reported.",
        "",
        "| memory, MB | before | at the peak | after |",
        "|---|--:|--:|--:|",
        row("plugin server", held.server),
        row("Kong's worker", held.kong),
    ]
    return "\n".join(lines)
