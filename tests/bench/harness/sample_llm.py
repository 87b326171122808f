"""The sample LLM of this repository: a provider whose streams begin at once and go on at a steady pace."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .processes import Process, free_port, listens


@contextmanager
def sample_llm(program: Path, directory: Path, *, token_milliseconds: int) -> Iterator[int]:
    """Runs one that says a token in so many milliseconds, in an event of its own; gives its port."""
    directory.mkdir()
    port = free_port()
    options = ["--listen", f"127.0.0.1:{port}", "--token-delay", str(token_milliseconds)]
    with Process(program, *options, log=directory / "output.log") as process:
        process.wait_until(lambda: listens(("127.0.0.1", port)))
        yield port
