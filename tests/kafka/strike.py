#!/usr/bin/env python3
"""Kills a process (kill -9) the moment that it commits to a Delta table.

Random moments seldom fall between the commits of one flush; this one always does. Exit codes: 0
killed, 1 no commit in time, 3 the process was gone before.
"""

import argparse
import os
import pathlib
import signal
import sys
import time


def versions(log):
    """The number of commits in a table's log."""
    try:
        return sum(name.endswith(".json") for name in os.listdir(log))
    except FileNotFoundError:
        return 0


def main():
    """Watches, strikes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("--process", type=int, required=True)
    parser.add_argument("--timeout", type=float, default=60)
    arguments = parser.parse_args()

    log = arguments.table / "_delta_log"
    before = versions(log)
    deadline = time.monotonic() + arguments.timeout
    while time.monotonic() < deadline:
        try:
            # The signal 0 only asks whether the process is there.
            struck = versions(log) > before
            os.kill(arguments.process, signal.SIGKILL if struck else 0)
        except ProcessLookupError:
            print("strike: the process is gone")
            return 3
        if struck:
            return 0
        time.sleep(0.0005)
    print(f"strike: no commit in {arguments.timeout:.0f} s")
    return 1


if __name__ == "__main__":
    sys.exit(main())
