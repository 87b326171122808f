"""One streamed chat, as a client sees it."""

import asyncio
import time
from contextlib import suppress
from types import TracebackType

from .processes import Failure

PATIENCE = 20.0
"""Seconds that a client waits for the next bytes."""


class Stream:
    """A request on a connection of its own; an asynchronous context manager that closes it."""

    def __init__(self, port: int, path: str, body: str):
        self.port, self.path, self.body = port, path, body.encode()
        self.headers: set[str] = set()
        """Names of the answer's, in small letters, as soon as its first byte is there."""
        self.received = b""
        """The body so far."""

    async def __aenter__(self) -> "Stream":
        """Connects, and sends nothing yet."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def first_byte(self) -> float:
        """Sends the request; gives the seconds until the first byte of the answer's body."""
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        sent = time.perf_counter()
        self._writer.write(head.encode() + self.body)
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._reader.readuntil(b"\r\n\r\n")
            status, *headers = answer.decode("latin-1").split("\r\n")
            self.headers = {line.partition(":")[0].lower() for line in headers}
            if status.split()[1] != "200" or "transfer-encoding" not in self.headers:
                raise Failure(f"{self.path} answered {status!r}, which is no stream")
            await self._chunk()
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError) as error:
            raise Failure(f"{self.path}: no answer: {error!r}") from error
        return time.perf_counter() - sent

    async def rest(self) -> None:
        """Reads to the end; fails if that is not where the provider ended."""
        try:
            while await self._chunk():
                pass
        except (OSError, EOFError, TimeoutError) as error:
            raise Failure(f"{self.path} broke off after {len(self.received)} bytes: {error!r}") from error
        if not self.received.endswith(b"data: [DONE]\n\n"):
            raise Failure(f"{self.path} ended with {self.received[-80:]!r}")

    async def _chunk(self) -> bool:
        """Reads one chunk of the body; false if it was the last, which is empty."""
        async with asyncio.timeout(PATIENCE):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = await self._reader.readexactly(size + 2)
        self.received += data[:size]
        return size > 0
