# Set-up shared by tests/run and tests/quickstart; sourced, with the repository's root as working directory.
# shellcheck shell=bash

skipped=()

# Says what is run, and runs it.
step() {
  printf '\n==> %s\n' "$*" >&2
  "$@"
}

# Notes something that this machine cannot do.
absent() {
  printf 'SKIPPED %s\n' "$*" >&2
  skipped+=("$*")
}

# The same of what can be set up; an error in CI.
skip() {
  absent "$*"
  if [ "${CI:-}" = true ]; then exit 1; fi
}

report_skipped() {
  if [ "${#skipped[@]}" -gt 0 ]; then
    printf '\nSkipped on this machine:\n'
    printf '  - %s\n' "${skipped[@]}"
  fi
}

need_rust() {
  if ! command -v cargo > /dev/null; then
    # Where rustup puts it, for a shell that was open before.
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  if ! command -v cargo > /dev/null; then
    echo "cargo is missing: install Rust from https://rustup.rs" >&2
    exit 1
  fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
  command -v apt-get > /dev/null || return 1
  if [ "$(id -u)" != 0 ] && ! command -v sudo > /dev/null; then return 1; fi
  # A fresh machine may be upgrading itself: wait for that.
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get --option DPkg::Lock::Timeout=300 install --yes --no-install-recommends)
  as_root "${install[@]}" "$@" > /dev/null 2>&1 && return
  as_root apt-get update > /dev/null
  as_root "${install[@]}" "$@" > /dev/null
}

# need_packages COMMAND:PACKAGE…: installs the packages whose command is missing.
need_packages() {
  local missing=() pair
  for pair in "$@"; do
    command -v "${pair%%:*}" > /dev/null || missing+=("${pair#*:}")
  done
  if [ "${#missing[@]}" = 0 ]; then return; fi
  printf '==> installing %s\n' "${missing[*]}" >&2
  if ! apt_install "${missing[@]}"; then
    echo "please install: ${missing[*]}" >&2
    exit 1
  fi
}

need_postgresql() {
  if compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || command -v initdb > /dev/null; then return; fi
  apt_install postgresql || skip "Kong with PostgreSQL: the package postgresql could not be installed"
}

# Limits in Redis are tested in a real one, which each test starts for itself.
need_redis() {
  if command -v redis-server > /dev/null && command -v redis-cli > /dev/null; then return; fi
  apt_install redis-server || skip "limits in Redis: the package redis-server could not be installed"
}

# The admin page is tried in a real browser. Ubuntu's Chromium is a snap, so what apt cannot install there is no error.
need_browser() {
  if command -v chromium > /dev/null || command -v google-chrome > /dev/null; then return; fi
  apt_install chromium 2> /dev/null || absent "the admin page in a browser: there is no google-chrome, and the package chromium could not be installed"
}

# The vendors' Python clients, in a virtual environment of this repository.
need_python_clients() {
  local venv=.cache/venv
  if "$venv/bin/python" -c 'import openai, anthropic' 2> /dev/null; then return; fi
  mkdir -p .cache
  if ! python3 -m venv "$venv" > /dev/null 2>&1; then
    rm -rf "$venv"
    if ! { apt_install python3-venv && python3 -m venv "$venv"; }; then
      skip "the vendors' Python clients: python3-venv could not be installed"
      return
    fi
  fi
  "$venv/bin/pip" install --quiet 'openai>=1.66' 'anthropic>=0.40' || skip "the vendors' Python clients: pip could not install openai and anthropic"
}

# The vendors' Node clients, an OpenID provider and MCP's client and server, in a directory of this repository.
need_node_clients() {
  local directory=.cache/node
  if node_clients_load "$directory"; then return; fi
  if ! { command -v node && command -v npm; } > /dev/null && ! apt_install nodejs npm; then
    skip "the Node packages of the stories: nodejs and npm could not be installed"
    return
  fi
  mkdir -p "$directory"
  # Peers of protocols are pinned, vendors' clients are those that people install now.
  local packages=('openai@>=5' '@anthropic-ai/sdk@>=0.60' 'oidc-provider@9.13.3' '@modelcontextprotocol/sdk@1.32.2')
  if ! npm install --prefix "$directory" --no-audit --no-fund --loglevel=error "${packages[@]}" > /dev/null; then
    skip "the Node packages of the stories: npm could not install ${packages[*]}"
  elif ! node_clients_load "$directory"; then
    skip "the Node packages of the stories: this node does not run them: $(node --version)"
  fi
}

node_clients_load() {
  NODE_PATH="$1/node_modules" node -e '
    require("openai"); require("@anthropic-ai/sdk"); require("@modelcontextprotocol/sdk/client/index.js");
    import(require("url").pathToFileURL(require.resolve("oidc-provider")));' 2> /dev/null
}

# decK, by which kongctl is measured, built once from its Go module: as it is published, what it depends on as it pins it.
need_deck() {
  local version=v1.55.0 sum='h1:GukzL8zr1hyvjhQGngTdn/a1vP1Ez+9Iw241h036PQo=' module directory
  local program="$PWD/.cache/deck"
  if [ -x "$program" ] && [ "$(cat "$program.version" 2> /dev/null)" = "$version" ]; then return; fi
  if ! command -v go > /dev/null; then
    absent "decK beside kongctl: Go is not installed, which builds it"
    return
  fi
  if ! module="$(go mod download -json "github.com/kong/deck@$version")" || [[ "$module" != *"\"Sum\": \"$sum\""* ]]; then
    absent "decK beside kongctl: its module could not be fetched as it is known"
    return
  fi
  directory="$(sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p' <<< "$module")"
  mkdir -p .cache
  printf '==> building decK %s: some minutes, once\n' "$version" >&2
  # One package at a time: some of its dependencies are large. Its go.mod replaces modules, which `go install` refuses.
  if ! (cd "$directory" && CGO_ENABLED=0 go build -mod=readonly -trimpath -p 1 -o "$program" .); then
    absent "decK beside kongctl: this Go could not build it: $(go version)"
    return
  fi
  printf '%s\n' "$version" > "$program.version"
}

# A minute for each cargo-fuzz target, from its seeds if it has any, where nightly Rust and cargo-fuzz are at hand.
fuzz_each_target() {
  if ! cargo +nightly fuzz --version > /dev/null 2>&1; then
    skip "fuzzing: no nightly toolchain with cargo-fuzz (rustup toolchain install nightly; cargo install cargo-fuzz)"
    return
  fi
  local manifest directory target corpus found=
  while IFS= read -r manifest; do
    directory="$(dirname "$manifest")"
    while IFS= read -r target; do
      found=1
      corpus=("$directory/corpus/$target")
      mkdir -p "${corpus[0]}"
      if [ -d "$directory/seeds/$target" ]; then corpus+=("$directory/seeds/$target"); fi
      step cargo +nightly fuzz run --fuzz-dir "$directory" "$target" "${corpus[@]}" -- -max_total_time=60
    done < <(cargo +nightly fuzz list --fuzz-dir "$directory")
  done < <(git ls-files '*fuzz/Cargo.toml')
  if [ -z "$found" ]; then skip "fuzzing: no fuzz target was found"; fi
}
