#!/usr/bin/env python3
"""Checks where every message went, reading the Delta tables with delta-rs for Python and Arrow C++.

It shares no code with Situs. Every offset of every partition must be in exactly one place: rows in
one pipeline's tables (each `_row` once over all zones), one entry of quarantine, or the receipts'
count of messages without rows. A zone's directory may hold rows of that zone only, receipts must
continue each other, and their counts must add up and agree with what the tables hold. Everything below
a receipt must have been judged by the policy that the receipt names.

An expectations file may say that the right place depends on the policy (`policies`: version -> letter ->
places), and that a column holds a number made of partition and offset (`serials`).

  verify.py DATA --expect cnc.state=0:5000,1:5000
  verify.py DATA --expect-total cnc.state=10000
  verify.py DATA --expectations FILE        as produce.py and hostile.py write it

Exit codes: 0 all holds, 1 something is violated, 2 wrong arguments.
"""

import argparse
import bisect
import collections
import dataclasses
import hashlib
import json
import math
import pathlib
import sys
import urllib.parse

import deltalake
import pyarrow
import pyarrow.compute
import pyarrow.fs
import pyarrow.parquet

IDENTITY = ["_topic", "_partition", "_offset", "_row", "_zone"]
RECEIPT_NUMBERS = [
    "start_offset", "end_offset", "messages", "without_rows",
    "stored_messages", "stored_rows", "quarantined_messages", "quarantined_rows",
]
SHOWN_VIOLATIONS = 20


@dataclasses.dataclass
class Partition:
    """What the tables say of one partition."""

    # offset -> [(table, zone of the directory, row, policy)]
    rows: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    # offset -> [(reason, SHA-256 of the payload or None for a tombstone, policy)]
    quarantine: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    receipts: list = dataclasses.field(default_factory=list)
    expected: int | None = None
    # Offsets that hold no message: markers and aborted transactions, or deleted before they were read.
    holes: set = dataclasses.field(default_factory=set)


class Verifier:
    """Collects facts and violations. Violations name coordinates, never payload."""

    def __init__(self):
        self.partitions = collections.defaultdict(Partition)
        self.violations = []
        self.tables = []
        self.orphans = 0
        self.unreadable = 0

    def violation(self, text):
        """Notes that something does not hold."""
        self.violations.append(text)

    # Reading

    def read(self, data):
        """Reads every store under the data directory."""
        homes = []
        stores = sorted(path for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
        for store in stores:
            # A log folder without an entry is a table that a crash kept from coming into being.
            tables = sorted({entry.parent.parent for entry in store.rglob("_delta_log/*.json")})
            for path in tables:
                table = deltalake.DeltaTable(str(path))
                if path.name == "receipts":
                    homes.append(store.name)
                    self.read_receipts(table)
                elif path.name == "quarantine":
                    homes.append(store.name)
                    self.read_quarantine(table)
                elif set(IDENTITY) <= {field.name for field in table.schema().fields}:
                    self.read_rows(table, path.name, store.name.upper())
                    self.read_orphans(table, path, store.name.upper())
        if not homes:
            self.violation(f"no receipts under {data}")
        if len(set(homes)) > 1:
            self.violation(f"quarantine or receipts in more than one store: {sorted(set(homes))}")

    def read_rows(self, table, name, zone):
        """Reads the identity columns of a zone's table."""
        rows = columns_of(table, [*IDENTITY, *optional(table, "_policy")])
        self.tables.append((name, zone, table))
        # Most places are alike, and a run has millions.
        places = {}
        for topic, partition, offset, row, tag, *policy in rows:
            place = (name, zone, row, *(policy or [None]))
            self.partitions[topic, partition].rows[offset].append(places.setdefault(place, place))
            if tag != zone:
                self.violation(f"{topic}/{partition}/{offset} row {row}: _zone {tag} in a directory of {zone}")

    def read_orphans(self, table, path, zone):
        """Looks for rows of other zones in files that no commit names, such as those of a crash."""
        live = {pathlib.Path(local_path(uri)).resolve() for uri in table.file_uris()}
        for file in path.rglob("*"):
            if not file.is_file() or "_delta_log" in file.parts or file.resolve() in live:
                continue
            self.orphans += 1
            try:
                zones = pyarrow.parquet.read_table(file, columns=["_zone"], partitioning=None)["_zone"]
            except (pyarrow.ArrowException, OSError):
                self.unreadable += 1
                continue
            others = set(zones.unique().to_pylist()) - {zone}
            if others:
                self.violation(f"a file outside the log of a table of {zone} holds rows of {sorted(map(str, others))}")

    def read_quarantine(self, table):
        """Reads quarantine."""
        for topic, partition, offset, reason, payload, *policy in columns_of(
            table, ["topic", "partition", "offset", "reason", "payload", *optional(table, "policy")]
        ):
            digest = None if payload is None else hashlib.sha256(payload).hexdigest()
            self.partitions[topic, partition].quarantine[offset].append((reason, digest, *(policy or [None])))

    def read_receipts(self, table):
        """Reads the receipts."""
        names = [*RECEIPT_NUMBERS, *optional(table, "policy")]
        for topic, partition, *facts in columns_of(table, ["topic", "partition", *names]):
            receipt = {"policy": None, **dict(zip(names, facts, strict=True))}
            self.partitions[topic, partition].receipts.append(receipt)

    # Checking

    def check(self):
        """Checks every partition on its own."""
        for (topic, partition), facts in sorted(self.partitions.items()):
            name = f"{topic}/{partition}"
            facts.receipts.sort(key=lambda receipt: (receipt["start_offset"], receipt["end_offset"]))
            self.check_places(name, facts)
            self.check_receipts(name, facts)
            self.check_policies(name, facts)
            if facts.expected is None:
                self.violation(f"{name}: nothing was expected of this partition")
                continue
            settled = facts.receipts[-1]["end_offset"] if facts.receipts else 0
            if settled != facts.expected:
                self.violation(f"{name}: settled {settled} of {facts.expected}")
            beyond = [offset for offset in (*facts.rows, *facts.quarantine) if not 0 <= offset < facts.expected]
            if beyond:
                self.violation(f"{name}: {len(beyond)} offsets outside 0..{facts.expected}, such as {beyond[0]}")
            missing = self.missing(facts)
            without = sum(receipt["without_rows"] for receipt in facts.receipts)
            if len(missing) != without:
                places = ", ".join(map(str, missing[:5]))
                self.violation(
                    f"{name}: {len(missing)} offsets are nowhere, the receipts know of {without} without rows: {places}"
                )

    @staticmethod
    def missing(facts):
        """The expected offsets that are in no table."""
        return [
            offset for offset in range(facts.expected or 0)
            if offset not in facts.rows and offset not in facts.quarantine and offset not in facts.holes
        ]

    def check_places(self, name, facts):
        """One pipeline, each row once, or one entry of quarantine."""
        for offset, places in facts.rows.items():
            if len({table for table, *_ in places}) != 1:
                self.violation(f"{name}/{offset}: in more than one pipeline's table")
            rows = sorted(row for _, _, row, _ in places)
            if rows != list(range(len(rows))):
                zones = sorted({zone for _, zone, *_ in places})
                self.violation(f"{name}/{offset}: rows {rows[:10]} in {zones} are not 0..{len(rows)} once each")
            if offset in facts.quarantine:
                self.violation(f"{name}/{offset}: in a zone and in quarantine")
        for offset, entries in facts.quarantine.items():
            if len(entries) != 1:
                self.violation(f"{name}/{offset}: {len(entries)} times in quarantine")

    def check_receipts(self, name, facts):
        """Receipts continue each other and count what the tables hold."""
        messages = sorted(facts.rows)
        rows = sorted(offset for offset, places in facts.rows.items() for _ in places)
        quarantined = sorted(facts.quarantine)
        next_offset = 0
        for receipt in facts.receipts:
            start, end = receipt["start_offset"], receipt["end_offset"]
            where = f"{name}: the receipt {start}..{end}"
            if start != next_offset:
                self.violation(f"{where} does not continue at {next_offset}")
            if end <= start:
                self.violation(f"{where} is empty")
            next_offset = end
            parts = receipt["stored_messages"] + receipt["quarantined_messages"] + receipt["without_rows"]
            if receipt["messages"] != parts:
                self.violation(f"{where} counts {receipt['messages']} messages, its parts {parts}")
            if receipt["messages"] > end - start:
                self.violation(f"{where} counts {receipt['messages']} messages, more than offsets")
            for column, offsets in [
                ("stored_messages", messages), ("stored_rows", rows), ("quarantined_messages", quarantined),
            ]:
                held = bisect.bisect_left(offsets, end) - bisect.bisect_left(offsets, start)
                if held != receipt[column]:
                    self.violation(f"{where} says {column} {receipt[column]}, the tables hold {held}")

    def check_policies(self, name, facts):
        """What a receipt covers was judged by the policy that it names (RES-7)."""
        wrong = collections.Counter()
        examples = {}
        for receipt in facts.receipts:
            if receipt["policy"] is None:
                continue
            for offset in range(receipt["start_offset"], receipt["end_offset"]):
                # `get`, since these make what is asked for.
                held = {policy for *_, policy in facts.rows.get(offset, ())}
                held |= {policy for *_, policy in facts.quarantine.get(offset, ())}
                for policy in held - {receipt["policy"], None}:
                    pair = (policy, receipt["policy"])
                    wrong[pair] += 1
                    examples.setdefault(pair, f"{name}/{offset}")
        for (policy, named), count in sorted(wrong.items()):
            example = examples[policy, named]
            self.violation(f"{count} messages judged by policy {policy} have a receipt of policy {named}, "
                           f"such as {example}")

    def check_expectations(self, expectations):
        """Each message is where its producer expects it, and quarantine holds its bytes."""
        policies = expectations.get("policies")
        wrong = collections.Counter()
        examples = {}
        for topic, partitions in expectations["topics"].items():
            for partition, letters in partitions.items():
                facts = self.partitions[topic, int(partition)]
                legends = legend_by_offset(expectations["legend"], policies, facts)
                for offset, letter in enumerate(letters):
                    found = place_of(facts, offset)
                    policy, legend = legends(offset)
                    places = legend.get(letter, ["nowhere: the policy is not known"])
                    if found not in places:
                        pair = (" or ".join(places) + (f" under policy {policy}" if policy else ""), found)
                        wrong[pair] += 1
                        examples.setdefault(pair, f"{topic}/{partition}/{offset}")
        for (expected, found), count in sorted(wrong.items()):
            example = examples[expected, found]
            self.violation(f"{count} messages expected in {expected} are in {found}, such as {example}")
        for topic, partition, offset, digest in expectations.get("payloads", []):
            entries = self.partitions[topic, partition].quarantine.get(offset, [])
            if any(held != digest for _, held, _ in entries):
                self.violation(f"{topic}/{partition}/{offset}: quarantine holds other bytes than were sent")
        for name, zones in expectations.get("sums", {}).items():
            for zone, columns in zones.items():
                for column, expected in columns.items():
                    self.check_sum(name, zone, column, expected)
        for name, serial in expectations.get("serials", {}).items():
            self.check_serials(name, serial)

    def check_serials(self, name, serial):
        """Each row is of the message that was sent: a column holds partition * stride + offset, and each
        message has its number of rows."""
        column, stride, rows = serial["column"], serial["stride"], serial["rows"]
        for table_name, zone, table in self.tables:
            if table_name != name:
                continue
            held = read_table(table, ["_partition", "_offset", column])
            partition = pyarrow.compute.multiply(held["_partition"].cast(pyarrow.int64()), stride)
            expected = pyarrow.compute.add(partition, held["_offset"])
            wrong = pyarrow.compute.fill_null(pyarrow.compute.not_equal(held[column], expected), True)
            if pyarrow.compute.any(wrong).as_py():
                example = held.filter(wrong).slice(0, 1).to_pylist()[0]
                self.violation(
                    f"{pyarrow.compute.sum(wrong).as_py()} rows of {name} in {zone} are of other messages by {column}, "
                    f"such as {example['_partition']}/{example['_offset']}"
                )
        for (topic, partition), facts in sorted(self.partitions.items()):
            wrong = [
                offset for offset, places in facts.rows.items() if places[0][0] == name and len(places) != rows
            ]
            if wrong:
                self.violation(f"{topic}/{partition}: {len(wrong)} messages have not {rows} rows, such as {min(wrong)}")

    def check_sum(self, name, zone, column, expected):
        """The sum of a column is what was sent."""
        found = 0
        for table_name, table_zone, table in self.tables:
            if (table_name, table_zone) == (name, zone):
                total = pyarrow.compute.sum(read_table(table, [column])[column]).as_py()
                found += total or 0
        if not math.isclose(found, expected, rel_tol=0 if isinstance(expected, int) else 1e-9):
            self.violation(f"{name} in {zone}: {column} sums to {found}, {expected} was sent")

    # Showing

    def show(self):
        """Prints the table and the verdict; true if all holds."""
        head = ["partition", "expected", "stored", "rows", "quarantined", "without rows", "nowhere", "receipts"]
        lines = []
        zones = collections.Counter()
        reasons = collections.Counter()
        for (topic, partition), facts in sorted(self.partitions.items()):
            without = sum(receipt["without_rows"] for receipt in facts.receipts)
            lines.append([
                f"{topic}/{partition}", facts.expected or 0, len(facts.rows), sum(map(len, facts.rows.values())),
                len(facts.quarantine), without, len(self.missing(facts)) - without, len(facts.receipts),
            ])
            zones.update(zone for places in facts.rows.values() for _, zone, *_ in places)
            reasons.update(reason for entries in facts.quarantine.values() for reason, *_ in entries)
        total = ["all", *(sum(line[column] for line in lines) for column in range(1, len(head)))]
        table = [head, *lines, total]
        widths = [max(len(str(line[column])) for line in table) for column in range(len(head))]
        for line in table:
            cells = [str(line[0]).ljust(widths[0])]
            cells += [str(cell).rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            print("  ".join(cells))
        print(f"rows by zone: {words(zones)}; quarantined: {words(reasons)}; "
              f"files outside the logs: {self.orphans}, unreadable: {self.unreadable}")
        for text in self.violations[:SHOWN_VIOLATIONS]:
            print(f"violation: {text}")
        if len(self.violations) > SHOWN_VIOLATIONS:
            print(f"… and {len(self.violations) - SHOWN_VIOLATIONS} more")
        if self.violations:
            print(f"verify: FAILED, {len(self.violations)} violations")
            return False
        print(f"verify: ok, {total[1]} messages = {total[2]} stored + {total[4]} quarantined + {total[5]} without rows")
        return True


def place_of(facts, offset):
    """The place of an offset, in the words of an expectations file."""
    if offset in facts.rows:
        return "zone:" + "+".join(sorted({zone for _, zone, *_ in facts.rows[offset]}))
    if offset in facts.quarantine:
        return "quarantine:" + "+".join(sorted(reason for reason, *_ in facts.quarantine[offset]))
    return "nowhere" if offset in facts.holes else "without-rows"


def legend_by_offset(legend, policies, facts):
    """Gives the policy of an offset's receipt and the legend that holds under it."""
    if policies is None:
        return lambda offset: (None, legend)
    starts = [receipt["start_offset"] for receipt in facts.receipts]

    def of(offset):
        place = bisect.bisect_right(starts, offset) - 1
        if place < 0 or offset >= facts.receipts[place]["end_offset"]:
            # Without a receipt there is no policy; that is a violation of its own.
            return None, legend
        policy = facts.receipts[place]["policy"]
        return policy, policies.get(policy, {})

    return of


def optional(table, name):
    """The column's name in a list, if the table has it."""
    return [name] if name in {field.name for field in table.schema().fields} else []


def local_path(uri):
    """The path of a file, given as such or as a `file:` URI."""
    return urllib.parse.unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri


def read_table(table, names):
    """Columns of a Delta table.

    Arrow's own file system reads the files: with the one that delta-rs offers by default, in Python,
    every tenth process aborts at its exit ("terminate called without an active exception",
    delta-rs#2184).
    """
    files = pyarrow.fs.SubTreeFileSystem(local_path(table.table_uri), pyarrow.fs.LocalFileSystem())
    return table.to_pyarrow_table(columns=names, filesystem=files).select(names)


def columns_of(table, names):
    """The rows of a table's columns as tuples, dictionaries made plain."""
    return zip(*(column.to_pylist() for column in read_table(table, names).columns), strict=True)


def words(counts):
    """A counter as text."""
    return ", ".join(f"{key} {count}" for key, count in sorted(counts.items())) or "none"


def parse_expect(text):
    """`topic=0:10,1:12` as (topic, {0: 10, 1: 12})."""
    topic, _, partitions = text.partition("=")
    try:
        counts = dict(tuple(map(int, part.split(":"))) for part in partitions.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected TOPIC=PARTITION:COUNT,…, found {text!r}") from None
    return topic, counts


def parse_total(text):
    """`topic=22` as (topic, 22)."""
    topic, _, count = text.partition("=")
    if not count.isdigit():
        raise argparse.ArgumentTypeError(f"expected TOPIC=COUNT, found {text!r}")
    return topic, int(count)


def main(arguments=None):
    """Reads, checks, shows; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="the directory with one store per zone")
    parser.add_argument("--expect", action="append", default=[], type=parse_expect, metavar="TOPIC=PARTITION:COUNT,…")
    parser.add_argument("--expect-total", action="append", default=[], type=parse_total, metavar="TOPIC=COUNT")
    parser.add_argument("--expectations", type=pathlib.Path, metavar="FILE")
    arguments = parser.parse_args(arguments)
    if not (arguments.expect or arguments.expect_total or arguments.expectations):
        parser.error("say what to expect: --expect, --expect-total or --expectations")

    verifier = Verifier()
    verifier.read(arguments.data)
    for topic, counts in arguments.expect:
        for partition, count in counts.items():
            verifier.partitions[topic, partition].expected = count
    for topic, total in arguments.expect_total:
        for (name, _), facts in verifier.partitions.items():
            if name == topic:
                facts.expected = max((receipt["end_offset"] for receipt in facts.receipts), default=0)
        settled = sum(facts.expected for (name, _), facts in verifier.partitions.items() if name == topic)
        if settled != total:
            verifier.violation(f"{topic}: settled {settled} of {total}")
    expectations = None
    if arguments.expectations:
        expectations = json.loads(arguments.expectations.read_text())
        for topic, partitions in expectations["topics"].items():
            for partition, letters in partitions.items():
                facts = verifier.partitions[topic, int(partition)]
                facts.expected = len(letters)
                nowhere = {letter for letter, places in expectations["legend"].items() if places == ["nowhere"]}
                facts.holes = {offset for offset, letter in enumerate(letters) if letter in nowhere}
    verifier.check()
    if expectations:
        verifier.check_expectations(expectations)
    return 0 if verifier.show() else 1


if __name__ == "__main__":
    sys.exit(main())
