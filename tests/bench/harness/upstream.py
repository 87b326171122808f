"""What Kong proxies to: an nginx that answers each request with the same small chat completion."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .processes import Process, free_port, listens

ANSWER = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "It depends."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 24, "completion_tokens": 4, "total_tokens": 28},
}

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  # Kong keeps its connections: none is closed during a run.
  keepalive_requests 1000000000;
  server {{
    listen 127.0.0.1:{port};
    default_type application/json;
    location / {{ return 200 '{answer}'; }}
  }}
}}
"""


@contextmanager
def upstream(directory: Path) -> Iterator[int]:
    """Runs it; gives its port."""
    directory.mkdir()
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(directory=directory, port=port, answer=json.dumps(ANSWER)))
    log = directory / "error.log"
    with Process("nginx", "-p", directory, "-e", log, "-c", configuration, log=directory / "output.log") as process:
        process.wait_until(lambda: listens(("127.0.0.1", port)))
        yield port
