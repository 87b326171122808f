"""Builds what is measured, optimized."""

import json
import subprocess
import tomllib
from pathlib import Path

from .processes import Failure, run

BENCH = Path(__file__).resolve().parent.parent
REPOSITORY = BENCH.parent.parent


TARGETS = {
    "llm": ("--package=llm-plugin-server", "--bin=llm-plugin-server"),
    "pdk": ("--package=stories", "--example=pdk_plugin"),
    "sample-llm": ("--package=sample-llm", "--bin=sample-llm"),
}
"""What is in Rust: the plugin server that ships, pdk_plugin.rs on kong-pdk, and the provider of streams."""


def build(directory: Path, wanted: set[str]) -> dict[str, Path]:
    """Builds the programs that are wanted, `go` among them; gives their executables.

    What cargo does not keep goes to `directory`.
    """
    programs = {}
    for name in sorted(wanted & TARGETS.keys()):
        programs[name] = cargo_build(*TARGETS[name])
    if "go" in wanted:
        programs["go"] = directory / "go-two-calls"
        run("go", "build", "-mod=readonly", "-o", programs["go"], ".", cwd=BENCH / "go-plugin")
    return programs


def cargo_build(*target: str) -> Path:
    """Builds one target with the release profile; gives its executable."""
    command = ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics", *target]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise Failure("cargo build failed")
    messages = (json.loads(line) for line in done.stdout.splitlines())
    (executable,) = {message["executable"] for message in messages if message.get("executable")}
    return Path(executable)


def version() -> str:
    """The version of what is measured."""
    manifest = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())
    return str(manifest["workspace"]["package"]["version"])


def go_pdk_version() -> str:
    """The version of go-pdk that go.mod names."""
    for line in (BENCH / "go-plugin" / "go.mod").read_text().splitlines():
        if "github.com/Kong/go-pdk" in line:
            return line.split()[-1]
    raise Failure("go-plugin/go.mod does not name go-pdk")
