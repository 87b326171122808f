"""What is measured of streams: what the plugin adds to the first byte, and what many open ones cost the plugin server."""

import asyncio
import json
import statistics
from dataclasses import dataclass
from typing import Any

from .admin import Admin
from .build import REPOSITORY
from .kong import Kong
from .measure import note
from .plugin_servers import PluginServer
from .processes import Failure, resident_bytes
from .stream import Stream

CHAT = "v1/chat/completions"

LIMIT = 1_000_000_000
"""Tokens; never reached."""

WINDOW = 86_400
"""Seconds; longer than any measurement, so that nothing that was charged has passed at its end."""

REST = 0.02
"""Seconds of quiet before each timed stream: Kong accepts its connection, and settles the stream before."""

OPENING = 64
"""How many streams are on their way to their first byte at a time."""

LOOKING = 0.2
"""Seconds between two looks at the memory."""

SETTLING = 20.0
"""Seconds that the plugin server may take to settle what has ended."""


@dataclass(frozen=True)
class FirstByte:
    """Milliseconds to the first byte of each stream, pair by pair."""

    plain: list[float]
    limited: list[float]

    @property
    def added(self) -> list[float]:
        """What the plugin added in each pair."""
        return [limited - plain for plain, limited in zip(self.plain, self.limited, strict=True)]

    @property
    def median_added(self) -> float:
        return statistics.median(self.added)


@dataclass(frozen=True)
class Memory:
    """Bytes in memory before there are streams, at most while there are, and after all are settled."""

    before: int
    peak: int
    after: int


@dataclass(frozen=True)
class Held:
    """Many streams that were all open at once."""

    streams: int
    reservations: int
    """Open in the plugin server while all streams were."""
    tokens: int
    """Charged for all of them: exactly what the provider reported."""
    server: Memory
    kong: Memory
    """Of Kong's worker, whose usage tap keeps the ends of each answer."""


def chat(cap: int, **others: Any) -> str:
    """A streamed chat whose answer has three quarters of `cap` tokens."""
    question = {"role": "user", "content": "How many streams does a gateway hold open?"}
    return json.dumps({"model": "gpt-4o-mini", "stream": True, "max_tokens": cap, "messages": [question]} | others)


def declarative(quick_port: int, steady_port: int) -> dict[str, Any]:
    """Kong's configuration: a quick provider with the plugin and without, and a steady one with it."""
    tap = {"name": "post-function", "config": {"body_filter": [(REPOSITORY / "kong" / "usage-tap.lua").read_text()]}}

    def limited(name: str) -> list[dict[str, Any]]:
        limit = {"name": name, "unit": "total_tokens", "limit": LIMIT, "window_size": WINDOW, "limit_by": ["ip"]}
        return [{"name": "llm-rate-limiting", "config": {"limits": [limit]}}, tap]

    def route(name: str, plugins: list[dict[str, Any]]) -> dict[str, Any]:
        return {"name": name, "paths": [f"/{name}"], "response_buffering": False, "plugins": plugins}

    def service(name: str, port: int, routes: list[dict[str, Any]]) -> dict[str, Any]:
        return {"name": name, "url": f"http://127.0.0.1:{port}", "read_timeout": 300_000, "retries": 0, "routes": routes}

    return {
        "_format_version": "3.0",
        "services": [
            service("quick", quick_port, [route("plain", []), route("limited", limited("limited"))]),
            service("steady", steady_port, [route("held", limited("held"))]),
        ],
    }


async def first_byte(kong: Kong, pairs: int) -> FirstByte:
    """Times streams one at a time, by turns without the plugin and with it."""
    body = chat(cap=16)
    for path in ("plain", "limited"):
        note(f"warm-up: {path}")
        for _ in range(20):
            await timed(kong, path, body)
    milliseconds: dict[str, list[float]] = {"plain": [], "limited": []}
    for number in range(pairs):
        order = ("plain", "limited") if number % 2 == 0 else ("limited", "plain")
        for path in order:
            milliseconds[path].append(await timed(kong, path, body) * 1e3)
        if (number + 1) % 50 == 0:
            note(f"first byte: {number + 1} of {pairs} pairs")
    return FirstByte(**milliseconds)


async def timed(kong: Kong, path: str, body: str) -> float:
    """Seconds to the first byte of one stream, which is read to its end."""
    async with Stream(kong.port, f"/{path}/{CHAT}", body) as stream:
        await asyncio.sleep(REST)
        seconds = await stream.first_byte()
        await stream.rest()
        if ("x-ratelimit-remaining-tokens" in stream.headers) != (path == "limited"):
            raise Failure(f"/{path} does not tell of its limit as it should: is its plugin at work?")
    return seconds


async def held_open(kong: Kong, server: PluginServer, admin: Admin, streams: int, cap: int) -> Held:
    """Holds streams open until all have begun, then until all have ended; fails unless each is charged in full."""
    body = chat(cap)
    tokens = await reported_tokens(kong, cap) * streams
    watched = {"server": [server.pid], "kong": kong.workers}
    before = {name: resident_bytes(pids) for name, pids in watched.items()}
    peak = dict(before)
    opening, opened, all_open = asyncio.Semaphore(OPENING), 0, asyncio.Event()

    async def hold() -> None:
        nonlocal opened
        async with Stream(kong.port, f"/held/{CHAT}", body) as stream:
            async with opening:
                await stream.first_byte()
            opened += 1
            if opened == streams:
                all_open.set()
            await stream.rest()
            if not all_open.is_set():
                raise Failure(f"a stream ended when {opened} of {streams} had begun: hold them for longer")

    async def look() -> None:
        while True:
            for name, pids in watched.items():
                peak[name] = max(peak[name], resident_bytes(pids))
            await asyncio.sleep(LOOKING)

    async def count() -> int:
        await all_open.wait()
        note(f"all {streams} streams are open")
        return await asyncio.to_thread(admin.open_reservations)

    note(f"opening {streams} streams")
    looking, counting = asyncio.create_task(look()), asyncio.create_task(count())
    try:
        await asyncio.gather(*(hold() for _ in range(streams)))
        note("all have ended")
        reservations = await counting
        await settled(admin)
    finally:
        looking.cancel()
        counting.cancel()
    if reservations != streams:
        raise Failure(f"{reservations} reservations were open, of {streams} streams")
    after = {name: resident_bytes(pids) for name, pids in watched.items()}
    used = admin.used("held")
    if used != tokens:
        raise Failure(f"{used} tokens were charged, of {tokens}")
    memory = {name: Memory(before[name], max(peak[name], after[name]), after[name]) for name in watched}
    return Held(streams, reservations, tokens, **memory)


async def reported_tokens(kong: Kong, cap: int) -> int:
    """What the provider reports of one such stream; it says so only to whom it does not matter how long it takes."""
    async with Stream(kong.port, f"/plain/{CHAT}", chat(cap, stream_options={"include_usage": True})) as stream:
        await stream.first_byte()
        await stream.rest()
        events = stream.received.decode().removesuffix("\n\n").split("\n\n")
    usage = json.loads(events[-2].removeprefix("data: "))["usage"]
    return int(usage["total_tokens"])


async def settled(admin: Admin) -> None:
    """Waits until no reservation is open."""
    try:
        async with asyncio.timeout(SETTLING):
            while await asyncio.to_thread(admin.open_reservations):
                await asyncio.sleep(LOOKING)
    except TimeoutError as error:
        raise Failure(
            f"{admin.open_reservations()} reservations are still open {SETTLING:.0f} seconds after the last stream"
        ) from error
