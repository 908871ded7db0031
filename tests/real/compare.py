#!/usr/bin/env python3
"""Compares a Delta table of a data folder with what expected.py computed, reading it with delta-rs for Python.

    compare.py EXPECTED.json SITUS_DATA_FOLDER TABLE --topic TOPIC --device DEVICE

The stores lie at <data folder>/<zone in lower case>/<table>. TOPIC held the recording once, every message with the key
DEVICE. Prints one line per figure that was compared and a verdict; the exit code is 0 if all agree, 1 if something
differs, 2 if it could not be compared.
"""

import argparse
import json
import pathlib
import sys
import urllib.parse

import pyarrow
import pyarrow.fs
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


def read_table(path):
    """The rows of a Delta table.

    Arrow's own file system reads the files: with the one that delta-rs offers by default, in Python, every tenth process
    aborts at its exit ("terminate called without an active exception", delta-rs#2184).
    """
    table = DeltaTable(str(path))
    folder = urllib.parse.unquote(table.table_uri.removeprefix("file://"))
    files = pyarrow.fs.SubTreeFileSystem(folder, pyarrow.fs.LocalFileSystem())
    return table.to_pyarrow_table(filesystem=files)


def read(folder, table):
    """The table's rows over all zones, each zone's rows with the zone that its folder says."""
    parts = []
    for path in sorted(folder.glob(f"*/{table}")):
        # A log folder without an entry is no table yet.
        if any((path / "_delta_log").glob("*.json")):
            parts.append((path.parent.name.upper(), read_table(path)))
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


def compare_receipts(report, folder, table, expected, topic):
    """What the receipts say of the topic, and that nothing of it is in quarantine."""
    receipts = [row for _, rows in read(folder, "receipts") for row in rows.to_pylist() if row["topic"] == topic]
    without = sum(expected["without_rows"].values())
    figures = {
        "messages": expected["messages"],
        "without_rows": without,
        "rejected": 0,
        "rows": expected["rows"],
        "stored_messages": expected["messages"] - without,
        "stored_rows": expected["rows"],
        "quarantined_messages": 0,
    }
    for figure, value in figures.items():
        report.line(table, f"receipts: {figure}", sum(receipt[figure] for receipt in receipts), value)
    ranges = sorted((receipt["start_offset"], receipt["end_offset"]) for receipt in receipts)
    steps = [0, *(end for _, end in ranges)]
    report.line(table, "receipts: starts", [start for start, _ in ranges], steps[:-1])
    report.line(table, "receipts: settled", steps[-1], expected["messages"])
    quarantined = [topic for _, rows in read(folder, "quarantine") for topic in rows.column("topic").to_pylist()]
    report.line(table, "entries of quarantine", quarantined.count(topic), 0)


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("expected", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("table")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--device", required=True)
    arguments = parser.parse_args()
    expected = json.loads(arguments.expected.read_text(encoding="utf-8"))[arguments.table]
    parts = read(arguments.folder, arguments.table)
    if not parts:
        print(f"no store below {arguments.folder} has a table {arguments.table}", file=sys.stderr)
        return 2
    report = Report()
    compare(report, arguments.table, expected, parts)
    report.line(arguments.table, "_topic", sorted(set(values(parts, "_topic"))), [arguments.topic])
    report.line(arguments.table, "device", sorted(set(values(parts, "device")), key=str), [arguments.device])
    compare_receipts(report, arguments.folder, arguments.table, expected, arguments.topic)
    if report.different:
        print(f"VERDICT: {report.different} of {report.compared} figures differ")
        return 1
    print(f"all {report.compared} figures agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
