"""A Kong with a PostgreSQL of its own, both as they come, and what its Admin API has."""

import http.client
import json
import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .processes import Failure, Process, children, free_port, listens, run, tail, undisturbed, wait_until

KINDS = {
    "services": "name",
    "routes": "name",
    "consumers": "username",
    "upstreams": "name",
    "plugins": None,
    "key-auths": "key",
}
"""What the configurations have, by path, and what it is called by; targets are asked for upstream by upstream."""

MADE_BY_KONG = {"id", "created_at", "updated_at"}


@dataclass(frozen=True)
class Node:
    """A running Kong in database mode."""

    port: int
    workers: list[int]
    log: Path
    psql: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def empty(self) -> None:
        """Takes every entity away, and leaves no dead rows behind: a later round finds the tables of the first."""
        kinds = ["services", "routes", "consumers", "upstreams", "targets", "plugins", "keyauth_credentials", "tags"]
        run(*self.psql, "-qc", f"TRUNCATE {', '.join(kinds)} CASCADE")

    def state(self) -> dict[str, list[Any]]:
        """Every entity, with names where Kong says ids, in an order that does not depend on either."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        lists = {kind: self._all(connection, f"/{kind}?size=1000") for kind in KINDS}
        lists["targets"] = [
            target
            for upstream in lists["upstreams"]
            for target in self._all(connection, f"/upstreams/{upstream['id']}/targets?size=1000")
        ]
        connection.close()
        names = {each["id"]: each[field] for kind, field in KINDS.items() if field for each in lists[kind]}
        return {kind: sorted((_plain(each, names) for each in list_), key=json.dumps) for kind, list_ in lists.items()}

    def _all(self, connection: http.client.HTTPConnection, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while path:
            connection.request("GET", path)
            answer = connection.getresponse()
            page = json.loads(answer.read())
            if answer.status != 200:
                raise Failure(f"Kong answered {path} with {answer.status}: {page}")
            found += page["data"]
            # What follows says no size where entities are nested.
            path = page.get("next") or ""
        return found


def _plain(entity: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    plain = {field: value for field, value in sorted(entity.items()) if field not in MADE_BY_KONG}
    for field, value in plain.items():
        if isinstance(value, dict) and value.keys() == {"id"}:
            plain[field] = names[value["id"]]
    return plain


def binaries() -> Path:
    """Where PostgreSQL's programs are: Debian keeps them off PATH, a directory for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise Failure("there is no PostgreSQL: install the package postgresql")
    return found[-1].parent if found else Path(str(on_path)).parent


@contextmanager
def postgres(directory: Path) -> Iterator[int]:
    """Runs one with its default settings, for whoever comes by loopback; gives its port."""
    directory.mkdir(parents=True)
    data = directory / "data"
    data.mkdir()
    # It refuses to run as root.
    become: tuple[str, ...] = ()
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(data, owner.pw_uid, owner.pw_gid)
        become = ("setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups")
    programs = binaries()
    run(*become, programs / "initdb", "-D", data, "-U", "kong", "-A", "trust", "-E", "UTF8", "--locale=C", cwd=data)
    port = free_port()
    options = ("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", str(port))
    with Process(*become, programs / "postgres", "-D", data, *options, log=directory / "postgres.log") as server:
        server.wait_until(lambda: listens(("127.0.0.1", port)))
        yield port


@contextmanager
def node(directory: Path) -> Iterator[Node]:
    """Runs a Kong with a database of its own, and nothing in it."""
    with postgres(directory / "postgres") as database:
        prefix = directory / "kong"
        prefix.mkdir()
        port, proxy = free_port(), free_port()
        log = prefix / "logs" / "error.log"
        pid_file = prefix / "pids" / "nginx.pid"
        environment = _environment(prefix, port, proxy, database)
        run("kong", "migrations", "bootstrap", env=environment, cwd=directory)
        try:
            with undisturbed():
                run("kong", "start", env=environment, cwd=directory)
            wait_until(lambda: listens(("127.0.0.1", port)), "Kong does not listen", log=log)
            psql = (str(binaries() / "psql"), "-h", "127.0.0.1", "-p", str(database), "-U", "kong", "-d", "postgres")
            yield Node(port, children(int(pid_file.read_text())), log, psql)
        finally:
            with undisturbed(), suppress(Failure):
                run("kong", "stop", "--prefix", prefix)
                wait_until(lambda: not pid_file.exists(), f"Kong does not stop: {tail(log)}", log=log)


def _environment(prefix: Path, port: int, proxy: int, database: int) -> dict[str, str]:
    settings = {
        "PREFIX": prefix,
        "DATABASE": "postgres",
        "PG_HOST": "127.0.0.1",
        "PG_PORT": database,
        "PG_USER": "kong",
        "PG_DATABASE": "postgres",
        "PROXY_LISTEN": f"127.0.0.1:{proxy}",
        "ADMIN_LISTEN": f"127.0.0.1:{port}",
        "ADMIN_GUI_LISTEN": "off",
        "STATUS_LISTEN": "off",
        "NGINX_WORKER_PROCESSES": 2,
        "PROXY_ACCESS_LOG": "off",
        "ADMIN_ACCESS_LOG": "off",
        "LOG_LEVEL": "warn",
        "ANONYMOUS_REPORTS": "off",
    }
    if os.geteuid() == 0:
        settings["NGINX_USER"] = "root root"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}
    return inherited | {f"KONG_{name}": str(value) for name, value in settings.items()}
