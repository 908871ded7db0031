# Shared by the scripts of this folder. Source it; it runs nothing.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=../lib.sh
source "$root/tests/lib.sh"
# Nothing is written into the work tree.
export PYTHONDONTWRITEBYTECODE=1

# Makes sure that `prometheus` and `promtool` are there: Debian's package, without the service that comes with it.
need_prometheus() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null && return
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        die "prometheus and promtool are missing (on Debian: apt install prometheus)"
    fi
    # A start at the installation would take a port and stay.
    local policy=/usr/sbin/policy-rc.d made=
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=yes
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus; } >&2 \
        || { [[ -z $made ]] || rm -f "$policy"; die "prometheus cannot be installed"; }
    [[ -z $made ]] || rm -f "$policy"
}

# Prints the text at the top of the script that was started.
usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" | sed '$d'
}
