"""What the plugin server's admin listener says of its books."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import quote

from .processes import Failure


@dataclass(frozen=True)
class Admin:
    """The listener, on a port of the loopback."""

    port: int

    def used(self, limit: str) -> int:
        """What all counters of a limit count as used."""
        counters = json.loads(self._get(f"/v1/counters?limit={quote(limit)}"))["data"]
        return sum(counter["used"] for counter in counters)

    def open_reservations(self) -> int:
        """How many requests passed and are not settled yet."""
        for line in self._get("/metrics").splitlines():
            name, _, value = line.rpartition(" ")
            if name == "llm_open_reservations":
                return int(value)
        raise Failure("the plugin server does not tell how many reservations are open")

    def _get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                raise Failure(f"the admin listener answered {path} with {answer.status}: {text}")
            return text
        finally:
            connection.close()
