#!/usr/bin/env python3
"""Kills a process (kill -9) the moment that it commits rows to a Delta table.

Random moments seldom fall between the commits of one flush; this one always does. Exit codes: 0
killed, 1 no commit in time, 3 the process was gone before.
"""

import argparse
import os
import pathlib
import signal
import sys
import time


class Log:
    """A table's log."""

    def __init__(self, folder):
        self.folder = folder
        self.seen = set()

    def has_new_rows(self):
        """Whether a commit with rows came since the last look; others tell the table of its writers."""
        try:
            names = {name for name in os.listdir(self.folder) if name.endswith(".json")}
        except FileNotFoundError:
            return False
        new = names - self.seen
        self.seen |= new
        return any('"operation":"WRITE"' in (self.folder / name).read_text() for name in new)


def main():
    """Watches, strikes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("--process", type=int, required=True)
    parser.add_argument("--timeout", type=float, default=60)
    arguments = parser.parse_args()

    log = Log(arguments.table / "_delta_log")
    log.has_new_rows()
    deadline = time.monotonic() + arguments.timeout
    while time.monotonic() < deadline:
        try:
            # The signal 0 only asks whether the process is there.
            struck = log.has_new_rows()
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
