#!/usr/bin/env python3
"""Waits until a running `situs run` has come as far as asked, by its metrics.

Without a condition it waits until the metrics are served. Exit codes: 0 it has, 1 it has not in
time, 3 the process is gone, 4 it has found one of its invariants broken.
"""

import argparse
import collections
import os
import pathlib
import re
import sys
import time
import urllib.request

SAMPLE = re.compile(r"^(situs_\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


# What must stay 0, whatever the tests do.
NEVER = ["situs_invariant_violations_total", "situs_permits_refused_total"]


def scrape(address_file):
    """The sum of each metric over its labels; None while nothing answers."""
    try:
        address = address_file.read_text().strip()
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as response:
            text = response.read().decode()
    except (OSError, ValueError):
        return None
    sums = collections.defaultdict(float)
    for name, value in SAMPLE.findall(text):
        sums[name] += float(value)
    return sums


def reached(sums, conditions):
    """Whether all conditions that were given hold."""
    settled = sums.get("situs_settled_offset", 0)
    return (
        sums.get("situs_assigned_partitions", 0) >= conditions.assigned
        and sums.get("situs_messages_read_total", 0) >= conditions.read
        and settled >= conditions.settled
        and (conditions.drained is None or settled == conditions.drained)
        and sums.get("situs_refused_partitions", 0) == conditions.refused
        and (not conditions.idle or sums.get("situs_lag_messages") == 0)
    )


def alive(process):
    """Whether the process runs; a child that nobody has waited for yet does not."""
    try:
        os.kill(process, 0)
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return state != "Z"


def main():
    """Waits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address_file", type=pathlib.Path, help="what --http-address-file wrote")
    parser.add_argument("--process", type=int, required=True)
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--assigned", type=int, default=0, help="at least so many partitions are assigned")
    parser.add_argument("--read", type=int, default=0, help="at least so many messages were read")
    parser.add_argument("--settled", type=int, default=0, help="settled offsets add up to at least so many")
    parser.add_argument("--drained", type=int, help="settled offsets add up to exactly so many, and the lag is 0")
    parser.add_argument("--refused", type=int, default=0, help="exactly so many partitions are refused")
    parser.add_argument("--idle", action="store_true", help="the lag is 0")
    conditions = parser.parse_args()
    conditions.idle |= conditions.drained is not None

    deadline = time.monotonic() + conditions.timeout
    sums = None
    while time.monotonic() < deadline:
        sums = scrape(conditions.address_file)
        broken = [name for name in NEVER if sums and sums.get(name)]
        if broken:
            print(f"wait: not 0: {', '.join(broken)}")
            return 4
        if sums is not None and reached(sums, conditions):
            return 0
        if not alive(conditions.process):
            print("wait: the process is gone")
            return 3
        time.sleep(0.1)
    names = ["assigned_partitions", "refused_partitions", "messages_read_total", "settled_offset", "lag_messages"]
    seen = "nothing" if sums is None else ", ".join(f"{name} {sums.get(f'situs_{name}')}" for name in names)
    print(f"wait: not reached in {conditions.timeout:.0f} s; last seen: {seen}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
