"""The plugin servers that answer Kong's events, each in a directory of its own; Kong spawns none of them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .processes import Process, listens, run


@dataclass(frozen=True)
class PluginServer:
    """A running one."""

    pid: int
    socket: Path
    dumps: dict[str, Path]
    """What each plugin is, as Kong wants to read it, by the plugin's name."""


PLUGINS = {
    "llm": ["llm-jwt", "llm-rate-limiting"],
    "pdk": ["bench-access", "bench-access-log", "bench-counting", "bench-refusal", "bench-two-calls"],
    "go": ["go-two-calls"],
}
"""What each serves."""


@contextmanager
def plugin_servers(directory: Path, programs: dict[str, Path]) -> Iterator[dict[str, PluginServer]]:
    """Runs these programs, by the names of [`PLUGINS`]."""
    with ExitStack() as stack:
        running = {}
        for name, program in programs.items():
            own = directory / name
            own.mkdir(parents=True)
            serve = serve_go if name == "go" else serve_rust
            running[name] = stack.enter_context(serve(program, own, PLUGINS[name]))
        yield running


@contextmanager
def serve_rust(program: Path, directory: Path, plugins: list[str], *options: str) -> Iterator[PluginServer]:
    """Runs a server on kong-pdk, which writes the dumps of all its plugins and then binds one socket."""
    socket = directory / "plugins.sock"
    dumps = {plugin: directory / f"{plugin}.json" for plugin in plugins}
    with Process(program, "serve", "--dir", directory, *options, log=directory / "output.log") as process:
        process.wait_until(lambda: listens(socket))
        yield PluginServer(process.pid, socket, dumps)


@contextmanager
def serve_go(program: Path, directory: Path, plugins: list[str]) -> Iterator[PluginServer]:
    """Runs a server on go-pdk, which has one plugin, named as its executable."""
    (plugin,) = plugins
    socket = directory / f"{program.name}.socket"
    dump = directory / f"{plugin}.json"
    dump.write_bytes(run(program, "-kong-prefix", directory, "-dump"))
    with Process(program, "-kong-prefix", directory, log=directory / "output.log") as process:
        process.wait_until(lambda: listens(socket))
        yield PluginServer(process.pid, socket, {plugin: dump})
