"""A real Kong: DB-less, one nginx worker, no access log."""

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .load import Request
from .plugin_servers import PluginServer
from .processes import Failure, children, free_port, listens, run, tail, undisturbed, wait_until


@dataclass(frozen=True)
class Kong:
    """A running one."""

    port: int
    workers: list[int]
    log: Path

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ask(self, path: str, request: Request) -> tuple[int, dict[str, str]]:
        """Sends one request; gives the status and the headers, in small letters, of the answer."""
        headers = {name: value.strip() for name, _, value in (line.partition(":") for line in request.headers)}
        method = "GET"
        if request.body is not None:
            method, headers["Content-Type"] = "POST", "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, body=request.body, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def complaints(self) -> int:
        """How many errors it has logged."""
        levels = ("[error]", "[crit]", "[alert]", "[emerg]")
        return sum(any(level in line for level in levels) for line in self.log.read_text(errors="replace").splitlines())

    def last_words(self) -> str:
        return tail(self.log)


def kong_version() -> str:
    """What `kong version` prints."""
    return run("kong", "version").decode().strip()


@contextmanager
def kong(directory: Path, configuration: dict[str, Any], servers: dict[str, PluginServer]) -> Iterator[Kong]:
    """Runs one with this declarative configuration and the plugins of these servers."""
    prefix = directory / "prefix"
    prefix.mkdir(parents=True)
    declarative = directory / "kong.json"
    declarative.write_text(json.dumps(configuration))
    port = free_port()
    log = prefix / "logs" / "error.log"
    pid_file = prefix / "pids" / "nginx.pid"
    try:
        # `kong start` leaves a daemon behind even if it is killed: let it end, so that `kong stop` finds what to stop.
        with undisturbed():
            run("kong", "start", env=environment(prefix, declarative, port, servers), cwd=directory)
        # The ports can be open although the worker could not start: the pid file alone is no proof either.
        wait_until(lambda: listens(("127.0.0.1", port)), "Kong does not listen", log=log)
        running = Kong(port, children(int(pid_file.read_text())), log)
        wait_until(lambda: answers(running), "Kong does not answer", log=log)
        yield running
    finally:
        # If it did not start, there is nothing to stop.
        with undisturbed(), suppress(Failure):
            run("kong", "stop", "--prefix", prefix)
            # The command does not wait; nginx removes the file as the last thing it does.
            wait_until(lambda: not pid_file.exists(), "Kong does not stop", log=log)


def answers(running: Kong) -> bool:
    """Whether Kong has its configuration: a path without route is then refused by the router."""
    with suppress(OSError, http.client.HTTPException):
        return running.ask("/", Request())[0] == 404
    return False


def environment(prefix: Path, declarative: Path, port: int, servers: dict[str, PluginServer]) -> dict[str, str]:
    """What Kong needs to know, and nothing that was meant for another."""
    settings = {
        "PREFIX": prefix,
        "DATABASE": "off",
        "DECLARATIVE_CONFIG": declarative,
        "PROXY_LISTEN": f"127.0.0.1:{port}",
        "ADMIN_LISTEN": "off",
        "ADMIN_GUI_LISTEN": "off",
        "STATUS_LISTEN": "off",
        "NGINX_WORKER_PROCESSES": 1,
        "NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE": "1m",
        "PROXY_ACCESS_LOG": "off",
        "LOG_LEVEL": "warn",
        "ANONYMOUS_REPORTS": "off",
    }
    names, plugins = [], ["bundled"]
    for server in servers.values():
        for plugin, dump in server.dumps.items():
            name = plugin.replace("-", "_")
            names.append(name)
            plugins.append(plugin)
            settings[f"PLUGINSERVER_{name.upper()}_SOCKET"] = server.socket
            settings[f"PLUGINSERVER_{name.upper()}_QUERY_CMD"] = f"cat {dump}"
    settings["PLUGINS"] = ",".join(plugins)
    if names:
        settings["PLUGINSERVER_NAMES"] = ",".join(names)
    if os.geteuid() == 0:
        # Else the workers are `nobody`, who cannot enter our directory.
        settings["NGINX_USER"] = "root root"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}
    return inherited | {f"KONG_{name}": str(value) for name, value in settings.items()}


def check(running: Kong, path: str, request: Request, *, expected: int, shows: str | None, guarded: bool) -> None:
    """Fails unless the route answers as is expected, and its plugin does its work."""
    if expected != 200:
        # The limit lets one request pass, and the bundled rate-limiting counts it only when it has been answered.
        wait_until(lambda: running.ask(path, request)[0] == expected, f"{path} never answers {expected}", log=running.log)
    status, headers = running.ask(path, request)
    if status != expected:
        raise Failure(f"{path} answered {status}, not {expected}:\n{running.last_words()}")
    if shows is not None and shows not in headers:
        raise Failure(f"{path} answered without {shows}: its plugin did not run")
    if guarded:
        status, _ = running.ask(path, Request(body=request.body))
        if status != 401:
            raise Failure(f"{path} answered {status}, not 401, to a request without credentials")
