# Shared by the rivals. Source it; it sets no options and runs nothing.
# shellcheck shell=bash

readonly NOT_TO_BE_HAD=3
rivals=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Says why a rival cannot be had here, and ends the script.
not_to_be_had() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$NOT_TO_BE_HAD"
}

need() {
    command -v "$1" >/dev/null || not_to_be_had "$1 is missing"
}

# Ends a script that was started with the wrong words or without its settings.
usage() {
    printf 'usage: BOOTSTRAP=HOST:PORT TOPIC=T PARTITIONS=P MESSAGES=N OUT=DIR CACHE=DIR %s prepare|run\n' "$0" >&2
    exit 2
}

# A rival in Python: `python/NAME.py`, which needs what `python/NAME.txt` pins.
# Usage: python_rival NAME VERB
python_rival() {
    local name=$1 venv=${CACHE:?}/$1
    case ${2:-} in
        prepare) python_environment "$venv" "$rivals/python/$name.txt" ;;
        run)
            [[ -e $venv/requirements.txt ]] || { printf '%s: not prepared\n' "$name" >&2; exit 1; }
            exec "$venv/bin/python" "$rivals/python/$name.py"
            ;;
        *) usage ;;
    esac
}

# Makes a virtual environment, unless there is one with exactly these requirements. The copy of the
# requirements in it is written last: without it the environment is not whole.
python_environment() {
    local venv=$1 requirements=$2
    cmp -s "$requirements" "$venv/requirements.txt" && return
    need python3
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv" >&2 || not_to_be_had "python3 -m venv failed"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2 \
        || not_to_be_had "pip could not install ${requirements##*/}"
    # Compiled now, so that the first run is like the others.
    "$venv/bin/python" -m compileall -q "$venv/lib" "$rivals/python" >/dev/null || true
    cp "$requirements" "$venv/requirements.txt"
}

# Fetches the jars of `java/NAME/pom.xml` and compiles the classes beside it, unless that is done.
# The copies are written last: without them the environment is not whole.
# Usage: java_environment NAME
java_environment() {
    local java=${CACHE:?}/$1-java source=$rivals/java/$1
    diff -rq "$source" "$java/source" >/dev/null 2>&1 && return
    need java
    need javac
    need mvn
    rm -rf "$java"
    mkdir -p "$java/classes"
    mvn -q -B -f "$source/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$java/libs" >&2 || not_to_be_had "Maven could not fetch the jars"
    javac -cp "$java/libs/*" -d "$java/classes" "$source"/*.java >&2 || not_to_be_had "javac failed"
    cp -r "$source" "$java/source"
}

# Runs Go with all that it downloads and builds in the cache.
go_in_cache() {
    env GOMODCACHE="$CACHE/go/mod" GOCACHE="$CACHE/go/build" GOBIN="$CACHE/bin" \
        GOFLAGS='-modcacherw -buildvcs=false' go "$@"
}
