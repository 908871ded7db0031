#!/usr/bin/env python3
"""Compares the Delta tables of a data folder with what expected.py computed, reading them with delta-rs for Python.

    compare.py EXPECTED.json SITUS_DATA_FOLDER [TABLE ...]

The stores lie at <data folder>/<zone in lower case>/<table>. Prints one line per figure that was compared and a verdict;
the exit code is 0 if all agree, 1 if something differs, 2 if it could not be compared.
"""

import json
import pathlib
import sys

import pyarrow
import pyarrow.compute
from deltalake import DeltaTable

from expected import summary

BROKER = "event_time:broker"


class Report:
    def __init__(self):
        self.compared = 0
        self.different = 0

    def line(self, table, what, found, expected):
        self.compared += 1
        if found == expected:
            print(f"ok    {table:16} {what:24} {json.dumps(found)}")
        else:
            self.different += 1
            print(f"DIFF  {table:16} {what:24} found {json.dumps(found)}, expected {json.dumps(expected)}")


def read(folder, table):
    """The table's rows over all zones, each zone's rows with the zone that its folder says."""
    parts = []
    for path in sorted(folder.glob(f"*/{table}")):
        if (path / "_delta_log").is_dir():
            parts.append((path.parent.name.upper(), pyarrow.table(DeltaTable(str(path)).to_pyarrow_table())))
    return parts


def values(parts, column):
    """The column as Python values; times as microseconds since the epoch."""
    out = []
    for _, rows in parts:
        data = rows.column(column)
        if pyarrow.types.is_timestamp(data.type):
            assert data.type.unit == "us" and data.type.tz == "UTC", data.type
            data = data.cast(pyarrow.int64())
        out.extend(data.to_pylist())
    return out


def compare(report, table, expected, parts):
    report.line(table, "rows", sum(rows.num_rows for _, rows in parts), expected["rows"])

    for zone, rows in parts:
        zones = sorted(set(rows.column("_zone").to_pylist()), key=str)
        report.line(table, f"_zone in {zone}", zones, [zone] if rows.num_rows else [])

    names = ["_topic", "_partition", "_offset", "_row"]
    keys = list(zip(*(values(parts, name) for name in names)))
    report.line(table, "rows stored twice", len(keys) - len(set(keys)), 0)
    # Messages with rows; those without rows cannot be seen in a table.
    messages = expected["messages"] - sum(expected["without_rows"].values())
    report.line(table, "messages with rows", len({key[:3] for key in keys}), messages)

    quality = [text.split(";") if text else [] for text in values(parts, "_quality")]
    counts = {}
    for codes in quality:
        # The device comes from the key, which is not in the recording.
        for code in (code for code in codes if not code.startswith("device:")):
            counts[code] = counts.get(code, 0) + 1
    report.line(table, "_quality", dict(sorted(counts.items())), expected["quality"])

    for column, figures in expected["columns"].items():
        if not all(column in rows.column_names for _, rows in parts):
            report.line(table, column, "no such column", figures)
            continue
        found = values(parts, column)
        if column in ("event_time", "_event_time_ns"):
            # The broker's time is not in the recording either.
            found = [None if BROKER in codes else value for value, codes in zip(found, quality)]
        report.line(table, column, summary(found), figures)


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    expected = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = pathlib.Path(sys.argv[2])
    tables = sys.argv[3:] or list(expected)
    report = Report()
    for table in tables:
        parts = read(folder, table)
        if not parts:
            print(f"no store below {folder} has a table {table}", file=sys.stderr)
            return 2
        compare(report, table, expected[table], parts)
    if report.different:
        print(f"VERDICT: {report.different} of {report.compared} figures differ")
        return 1
    print(f"VERDICT: all {report.compared} figures agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
