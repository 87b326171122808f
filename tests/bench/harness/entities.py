"""Configurations of a given size, as people have them: some of each kind, most of it nested."""

from dataclasses import dataclass
from typing import Any

SHARES = {"services": 15, "routes": 25, "plugins": 15, "consumers": 15, "keyauth_credentials": 15, "upstreams": 5, "targets": 10}
"""Of a hundred entities."""

PLUGINS: list[dict[str, Any]] = [
    {"name": "rate-limiting", "config": {"minute": 60, "hour": 1000, "policy": "local"}},
    {"name": "key-auth", "config": {"key_names": ["apikey"], "hide_credentials": True}},
    {"name": "request-transformer", "config": {"add": {"headers": ["x-gateway:kong"]}}},
    {"name": "cors", "config": {"origins": ["https://app.example"], "methods": ["GET", "POST"], "max_age": 3600}},
]


@dataclass(frozen=True)
class Sizes:
    """How many entities a configuration has, and how many of them its changed form changes."""

    entities: int

    def __post_init__(self) -> None:
        if self.entities < 100 or self.entities % 100:
            raise ValueError("sizes are multiples of 100")

    @property
    def changed(self) -> int:
        """One in a hundred."""
        return self.entities // 100

    def of(self, kind: str) -> int:
        return self.entities // 100 * SHARES[kind]


def configuration(sizes: Sizes, *, changed: bool) -> dict[str, Any]:
    """The file; if `changed`, one entity in a hundred has a field of another value: services and routes by turns."""
    routes: list[dict[str, Any]] = [
        {"name": f"route-{number}", "paths": [f"/v1/things/{number}"], "methods": ["GET", "POST"], "strip_path": False, "tags": ["bench"]}
        for number in range(sizes.of("routes"))
    ]
    for number in range(sizes.of("plugins")):
        # More routes than plugins: each has one at most.
        routes[number]["plugins"] = [PLUGINS[number % len(PLUGINS)]]
    services: list[dict[str, Any]] = [
        {"name": f"service-{number}", "host": f"upstream-{number % sizes.of('upstreams')}", "path": "/v1", "retries": 3, "tags": ["bench"]}
        for number in range(sizes.of("services"))
    ]
    for number, route in enumerate(routes):
        services[number % len(services)].setdefault("routes", []).append(route)
    if changed:
        for number in range(sizes.changed):
            if number % 2:
                routes[number]["strip_path"] = True
            else:
                services[number]["read_timeout"] = 30000
    consumers = [
        {"username": f"consumer-{number}", "tags": ["bench"], "keyauth_credentials": [{"key": f"key-of-consumer-{number}"}]}
        for number in range(sizes.of("consumers"))
    ]
    upstreams: list[dict[str, Any]] = [{"name": f"upstream-{number}"} for number in range(sizes.of("upstreams"))]
    for number in range(sizes.of("targets")):
        address = f"10.{number // 62500}.{number // 250 % 250}.{number % 250}:8080"
        upstreams[number % len(upstreams)].setdefault("targets", []).append({"target": address, "weight": 50})
    return {"_format_version": "3.0", "services": services, "consumers": consumers, "upstreams": upstreams}


def yaml(value: Any, indent: str = "") -> str:
    """Writes it in the form in which such files are kept."""
    if isinstance(value, dict):
        return "".join(f"{indent}{key}:{_after(item, indent)}" for key, item in value.items())
    items = (yaml(item, indent + "  ") if isinstance(item, dict) else f"{indent}  {_scalar(item)}\n" for item in value)
    return "".join(f"{indent}- {item[len(indent) + 2 :]}" for item in items)


def _after(value: Any, indent: str) -> str:
    if isinstance(value, dict):
        return f"\n{yaml(value, indent + '  ')}"
    return f"\n{yaml(value, indent)}" if isinstance(value, list) else f" {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if value.replace("-", "").isalpha() else f'"{value}"'
    return str(value)
