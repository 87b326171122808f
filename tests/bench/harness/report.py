"""The report, as Markdown."""

from dataclasses import dataclass

from .load import CONNECTIONS
from .measure import Plan, Results, Spread
from .routes import COMPARISONS, Comparison, Route


@dataclass(frozen=True)
class Conditions:
    """What a reader must know to believe the figures."""

    product: str
    kong: str
    go_pdk: str
    redis: str | None
    """None if none took part."""
    cores: int
    load_average: float
    """Of the last minute before the measurement: what else the machine did."""
    complaints: int
    """Errors in Kong's log."""
    plan: Plan


def conditions(known: Conditions) -> str:
    plan = known.plan
    redis = f"; Redis {known.redis}" if known.redis else ""
    return "\n".join(
        [
            f"Version {known.product} on Kong {known.kong}, one nginx worker, DB-less; go-pdk {known.go_pdk}{redis}.",
            f"wrk with one thread and {CONNECTIONS} connections, {plan.rounds} rounds of {plan.seconds} s a route "
            f"after {plan.warm_up} s of warm-up, all on {known.cores} cores, load average {known.load_average:.1f} before.",
            f"Errors in Kong's log: {known.complaints}. Absolute figures belong to this run; compare ratios.",
        ]
    )


def rates(routes: list[Route], results: Results) -> str:
    """What each route did."""
    lines = [
        "| route | requests/s | of no plugin | Kong µs a request | plugin server µs a request | p99 ms |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    baseline = results.spread("none", "rate").median if "none" in results.samples else None
    for route in routes:
        rate = results.spread(route.name, "rate")
        share = f"{rate.median / baseline:.2f}" if baseline else ""
        kong = results.spread(route.name, "kong_microseconds").median
        server = f"{results.spread(route.name, 'server_microseconds').median:.0f}" if route.server else ""
        p99 = results.spread(route.name, "p99_milliseconds").median
        lines.append(f"| {route.about} | {spread(rate, ',.0f')} | {share} | {kong:.0f} | {server} | {p99:.1f} |")
    return "\n".join(lines)


def measured_comparisons(results: Results) -> list[Comparison]:
    """Those of which both routes were measured."""
    return [each for each in COMPARISONS if each.measured in results.samples and each.against in results.samples]


def ratios(results: Results, required: dict[str, float]) -> str:
    """Each comparison, and whether it reached what was required of it."""
    lines = ["| comparison | route | against | ratio | by Kong's time alone | required | |", "|---|---|---|--:|--:|--:|---|"]
    for comparison in measured_comparisons(results):
        ratio = results.ratio(comparison)
        target, verdict = "", ""
        if comparison.name in required:
            target = f"≥ {required[comparison.name]:g}"
            verdict = "reached" if ratio.median >= required[comparison.name] else "MISSED"
        lines.append(
            f"| `{comparison.name}` | `{comparison.measured}` | `{comparison.against}` "
            f"| {spread(ratio, '.2f')} | {spread(results.ratio_by_kong(comparison), '.2f')} | {target} | {verdict} |"
        )
    return "\n".join(lines)


def redis_commands(routes: list[Route], results: Results) -> str:
    """What Redis was asked while each route was loaded; empty if none uses it."""
    lines = ["| route | requests | Redis commands | each request | by name |", "|---|--:|--:|--:|---|"]
    asking = [route for route in routes if route.redis_commands is not None]
    for route in asking:
        requests, commands = results.redis_commands(route.name)
        names = ", ".join(f"`{name}` {count:,}" for name, count in commands.most_common())
        total = commands.total()
        lines.append(f"| `{route.name}` | {requests:,} | {total:,} | {total / requests:.4f} | {names} |")
    return "\n".join(lines) if asking else ""


def spread(figures: Spread, form: str) -> str:
    return f"{figures.median:{form}} ({figures.least:{form}}–{figures.greatest:{form}})"
