"""What is measured: routes that differ in their plugins alone, and the pairs whose ratio is wanted."""

import json
from dataclasses import dataclass, field
from typing import Any

from .build import REPOSITORY
from .load import Request
from .token import API_KEY, AUDIENCE, CONSUMER, ISSUER, SignedToken

ENOUGH = 1_000_000_000
"""A limit that is never reached: what is measured is the counting, not the refusing."""

ONE_A_DAY = {"name": "bench", "unit": "requests", "limit": 1, "window_size": 86400, "limit_by": ["ip"]}
"""A limit that one request uses up for longer than any measurement; the bundled plugin's windows begin by the calendar, so it
gets a year."""

CHAT = json.dumps(
    {
        "model": "gpt-4o-mini",
        "max_tokens": 64,
        "messages": [
            {"role": "system", "content": "You answer in one sentence."},
            {"role": "user", "content": "How many requests a second does a gateway take?"},
        ],
    }
)
"""What a client of an LLM sends; wrk hands it on as it is."""


@dataclass(frozen=True)
class Plugin:
    """A plugin of a route, as in Kong's declarative configuration."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """A route of Kong and the requests that load it."""

    name: str
    about: str
    plugins: tuple[Plugin, ...] = ()
    request: Request = Request()
    server: str | None = None
    """Whose processor time belongs to this route: the plugin server that answers its events."""
    shows: str | None = None
    """An answer header that proves that the plugin did its work."""
    guarded: bool = False
    """Whether a request without its headers must be refused."""
    expected: int = 200
    """The status of every answer, but for the first one where it is a refusal's."""
    redis_commands: int | None = None
    """How many commands Redis runs at least for each request; None where it has nothing to do with the route."""


@dataclass(frozen=True)
class Comparison:
    """The rate of one route in units of another's."""

    name: str
    measured: str
    against: str


COMPARISONS = (
    Comparison("llm-jwt", "llm-jwt", "jwt"),
    Comparison("llm-jwt-uncached", "llm-jwt-uncached", "jwt"),
    Comparison("jwt-bound", "empty", "jwt"),
    Comparison("pdk-sequence", "pdk-sequence", "go-sequence"),
    Comparison("pdk-batch", "pdk-batch", "go-sequence"),
    Comparison("llm-rate-limiting", "llm-rate-limiting", "rate-limiting"),
    Comparison("llm-rate-limiting-tokens", "llm-rate-limiting-tokens", "empty-tokens"),
    Comparison("tokens-bound", "counting-tokens", "empty-tokens"),
    Comparison("llm-rate-limiting-redis", "llm-rate-limiting-redis", "rate-limiting-redis"),
    Comparison("llm-rate-limiting-refusals", "llm-rate-limiting-refusals", "rate-limiting-refusals"),
    Comparison("llm-rate-limiting-redis-refusals", "llm-rate-limiting-redis-refusals", "rate-limiting-refusals"),
    Comparison("cached-refusals", "llm-rate-limiting-redis-refusals", "rate-limiting-redis-refusals"),
    Comparison("refusals-bound", "empty-refusals", "rate-limiting-refusals"),
)


def routes(token: SignedToken, redis_port: int) -> list[Route]:
    """All of them, those that are compared next to each other."""
    redis = {"policy": "redis", "redis": {"host": "127.0.0.1", "port": redis_port}}
    bearer = Request(headers=(f"Authorization: Bearer {token.token}",))
    chat = Request(headers=(f"apikey: {API_KEY}",), body=CHAT)
    tap = Plugin("post-function", {"body_filter": [(REPOSITORY / "kong" / "usage-tap.lua").read_text()]})
    metered = Plugin("llm-rate-limiting", {"limits": [limit("total_tokens", "consumer")]})
    return [
        Route("none", "no plugin"),
        Route("empty", "external plugin, empty access", (Plugin("bench-access"),), server="pdk"),
        Route("empty-log", "external plugin, empty access and log", (Plugin("bench-access-log"),), server="pdk"),
        Route("go-sequence", "go-pdk, two calls", (Plugin("go-two-calls"),), server="go", shows="x-bench"),
        Route("pdk-sequence", "kong-pdk, two calls one after another", (two_calls("sequence"),), server="pdk", shows="x-bench"),
        Route("pdk-batch", "kong-pdk, two calls in a batch", (two_calls("batch"),), server="pdk", shows="x-bench"),
        Route("jwt", "jwt, RS256", (Plugin("jwt", {"claims_to_verify": ["exp"]}),), bearer, guarded=True),
        Route("llm-jwt", "llm-jwt, RS256", (llm_jwt(token),), bearer, "llm", guarded=True),
        Route(
            "llm-jwt-uncached",
            "llm-jwt, RS256, each token verified anew",
            (llm_jwt(token, token_cache_size=0),),
            bearer,
            "llm",
            guarded=True,
        ),
        Route(
            "rate-limiting",
            "rate-limiting, policy local, by address",
            (Plugin("rate-limiting", {"minute": ENOUGH, "policy": "local", "limit_by": "ip"}),),
            shows="ratelimit-remaining",
        ),
        Route(
            "llm-rate-limiting",
            "llm-rate-limiting, requests by address",
            (Plugin("llm-rate-limiting", {"limits": [limit("requests", "ip")]}),),
            server="llm",
            shows="x-ratelimit-remaining-requests",
        ),
        Route(
            "empty-tokens",
            "chat: key-auth, empty access and log, usage tap",
            (Plugin("key-auth"), Plugin("bench-access-log"), tap),
            chat,
            "pdk",
            guarded=True,
        ),
        Route(
            "counting-tokens",
            "chat: key-auth, the calls that counting needs and nothing else, usage tap",
            (Plugin("key-auth"), Plugin("bench-counting"), tap),
            chat,
            "pdk",
            "x-ratelimit-remaining-tokens",
            guarded=True,
        ),
        Route(
            "llm-rate-limiting-tokens",
            "chat: key-auth, llm-rate-limiting, tokens by consumer, usage tap",
            (Plugin("key-auth"), metered, tap),
            chat,
            "llm",
            "x-ratelimit-remaining-tokens",
            guarded=True,
        ),
        Route(
            "rate-limiting-redis",
            "rate-limiting, policy redis, by address",
            (Plugin("rate-limiting", {"minute": ENOUGH, "limit_by": "ip", "sync_rate": -1} | redis),),
            shows="ratelimit-remaining",
            redis_commands=1,
        ),
        Route(
            "llm-rate-limiting-redis",
            "llm-rate-limiting, policy redis, requests by address",
            (Plugin("llm-rate-limiting", {"limits": [limit("requests", "ip")]} | redis),),
            server="llm",
            shows="x-ratelimit-remaining-requests",
            redis_commands=1,
        ),
        Route(
            "rate-limiting-refusals",
            "refusals: rate-limiting, policy local, by address",
            (Plugin("rate-limiting", {"year": 1, "policy": "local", "limit_by": "ip"}),),
            shows="retry-after",
            expected=429,
        ),
        Route(
            "empty-refusals",
            "refusals: external plugin, nothing but the refusal",
            (Plugin("bench-refusal"),),
            server="pdk",
            expected=429,
        ),
        Route(
            "llm-rate-limiting-refusals",
            "refusals: llm-rate-limiting, requests by address",
            (Plugin("llm-rate-limiting", {"limits": [ONE_A_DAY]}),),
            server="llm",
            shows="retry-after",
            expected=429,
        ),
        Route(
            "rate-limiting-redis-refusals",
            "refusals: rate-limiting, policy redis, by address",
            (Plugin("rate-limiting", {"year": 1, "limit_by": "ip", "sync_rate": -1} | redis),),
            shows="retry-after",
            expected=429,
            redis_commands=1,
        ),
        Route(
            "llm-rate-limiting-redis-refusals",
            "refusals: llm-rate-limiting, policy redis, requests by address",
            (Plugin("llm-rate-limiting", {"limits": [ONE_A_DAY]} | redis),),
            server="llm",
            shows="retry-after",
            expected=429,
            redis_commands=0,
        ),
    ]


def two_calls(calls: str) -> Plugin:
    return Plugin("bench-two-calls", {"calls": calls})


def llm_jwt(token: SignedToken, **others: Any) -> Plugin:
    issuer = {
        "issuer": ISSUER,
        "public_keys": [token.public_key],
        "algorithms": ["RS256"],
        "audience_required": [AUDIENCE],
    }
    # The bundled plugin finds a consumer and tells the upstream of it: so must ours.
    consumer = {"consumer_claims": [["sub"]], "consumer_optional": False}
    return Plugin("llm-jwt", {"issuers": [issuer]} | consumer | others)


def limit(unit: str, by: str) -> dict[str, Any]:
    return {"name": "bench", "unit": unit, "limit": ENOUGH, "window_size": 60, "limit_by": [by]}


def declarative(upstream_port: int, measured: list[Route], token: SignedToken) -> dict[str, Any]:
    """Kong's configuration with these routes, each at `/NAME`."""
    jwt = {"key": ISSUER, "algorithm": "RS256", "rsa_public_key": token.public_key}
    return {
        "_format_version": "3.0",
        "services": [
            {
                "name": "upstream",
                "url": f"http://127.0.0.1:{upstream_port}",
                "routes": [
                    {
                        "name": route.name,
                        "paths": [f"/{route.name}"],
                        "plugins": [{"name": plugin.name, "config": plugin.config} for plugin in route.plugins],
                    }
                    for route in measured
                ],
            }
        ],
        "consumers": [{"username": CONSUMER, "keyauth_credentials": [{"key": API_KEY}], "jwt_secrets": [jwt]}],
    }
