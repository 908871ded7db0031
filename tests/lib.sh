# Shared by the scripts under tests/. Source it; it sets no options and runs nothing.
# shellcheck shell=bash

# Prints a message to standard error and ends the script.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Prints the folder for downloads that outlive a run. It lies outside the work tree, so that a
# clean clone stays clean and a second clone downloads nothing.
situs_cache() {
    printf '%s\n' "${SITUS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/situs}"
}

# Runs a command while nobody else holds the lock FILE; without `flock` (macOS), just runs it.
# Usage: with_lock FILE COMMAND [ARGUMENT…]
with_lock() {
    local lock=$1
    shift
    mkdir -p "$(dirname "$lock")"
    if command -v flock >/dev/null; then
        (
            flock 9
            # What the command leaves running in the background must not keep the lock.
            "$@" 9>&-
        ) 9>"$lock"
    else
        "$@"
    fi
}

# Prints the path of a Python that has the packages of REQUIREMENTS, making a virtual environment
# in the cache when there is none for exactly these requirements and this Python.
# Usage: python=$(python_venv REQUIREMENTS)
python_venv() {
    local requirements=$1 key venv
    command -v python3 >/dev/null || die "python3 is missing"
    key=$({ cat "$requirements"; python3 -c 'import sys; print(sys.version, sys.prefix)'; } | cksum | tr ' ' '-')
    venv=$(situs_cache)/venv-$key
    if [[ ! -e $venv/.complete ]]; then
        with_lock "$venv.lock" make_venv "$venv" "$requirements" >&2
    fi
    printf '%s\n' "$venv/bin/python"
}

# Makes the environment in place, since it cannot be moved; the mark at the end says that it is
# whole, and what has no mark is made anew.
make_venv() {
    local venv=$1 requirements=$2
    [[ ! -e $venv/.complete ]] || return 0
    rm -rf "$venv"
    python3 -m venv "$venv" || die "python3 -m venv failed (on Debian: apt install python3-venv)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" \
        || die "pip could not install $requirements"
    touch "$venv/.complete"
}

# Prints the newer one of the debug and the release build of the repository ROOT.
newest_situs() {
    local target=${CARGO_TARGET_DIR:-$1/target} found
    # shellcheck disable=SC2012  # the names are ours
    found=$(ls -t "$target/debug/situs" "$target/release/situs" 2>/dev/null | head -n 1 || true)
    [[ -n $found ]] || die "no binary; build it with: cargo build -p situs"
    printf '%s\n' "$found"
}

# Runs one of the store's tests that a script chooses, and prints what it tells, without what `cargo test` and a
# failing test add. Further arguments go to cargo. Fails if the test does.
# With $profile `dev` it takes the build that `cargo test --workspace` makes, which may be there already.
# Usage: store_test NAME [ARGUMENT…]
store_test() {
    local test=$1 root packages=(-p situs-store)
    shift
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    [[ ${profile:-} != dev ]] || packages=(--workspace)
    # Apart, so that what the compiler says is seen.
    cargo test --manifest-path "$root/Cargo.toml" --quiet "${packages[@]}" --lib --no-run "$@" || return
    (
        set -o pipefail
        cargo test --manifest-path "$root/Cargo.toml" --quiet "${packages[@]}" --lib "$@" -- \
            "$test" --exact --ignored --nocapture 2>&1 \
            | grep -E '^(seed |stores: |sweep|[a-z-]+ +(NOT FOUND|found) by | *[0-9]+ [0-9]+ )'
    )
}

# Builds the simulation's first tier and prints where it is. Arguments go to cargo.
# With $profile `dev` it is the build that `cargo test --workspace` makes, which may be there already.
sim_binary() {
    local root target
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    target=${CARGO_TARGET_DIR:-$root/target}
    if [[ ${profile:-} == dev ]]; then
        cargo test --manifest-path "$root/Cargo.toml" --quiet --workspace --no-run "$@" >&2 || return
        echo "$target/debug/situs-sim"
    else
        cargo build --manifest-path "$root/Cargo.toml" --quiet --release -p situs-sim "$@" >&2 || return
        echo "$target/release/situs-sim"
    fi
}
