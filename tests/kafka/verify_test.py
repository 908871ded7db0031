#!/usr/bin/env python3
"""Plants one fault at a time in a small, right set of stores: verify.py must find each.

A reader that never found a fault is a hope.
"""

import contextlib
import copy
import datetime
import hashlib
import io
import json
import pathlib
import tempfile
import unittest

import deltalake
import pyarrow
import pyarrow.parquet

import verify

TOPIC = "cnc.state"
RECEIPT = [
    "start_offset", "end_offset", "messages", "without_rows",
    "stored_messages", "stored_rows", "quarantined_messages", "quarantined_rows",
]


def right():
    """Two partitions. Of 0: 0..4 to EU, 5 in both zones, 6 quarantined, 7 without rows. Of 1: 0..1 to CN."""
    return {
        # zone, table, _zone, partition, offset, row
        "rows": [
            *[("EU", "cnc_state", "EU", 0, offset, 0) for offset in range(5)],
            ("EU", "cnc_state", "EU", 0, 4, 1),
            ("EU", "cnc_state", "EU", 0, 5, 0),
            ("CN", "cnc_state", "CN", 0, 5, 1),
            *[("CN", "cnc_state", "CN", 1, offset, 0) for offset in range(2)],
        ],
        # zone of the store, partition, offset, reason, payload
        "quarantine": [("EU", 0, 6, "invalid-json", b"{")],
        # zone of the store, partition, and the numbers
        "receipts": [
            ["EU", 0, 0, 3, 3, 0, 3, 3, 0, 0],
            ["EU", 0, 3, 8, 5, 1, 3, 5, 1, 0],
            ["EU", 1, 0, 2, 2, 0, 2, 2, 0, 0],
        ],
    }


def judged():
    """The same, with the policy of each record: a device whose records are 0/2 and 0/3 moved from EU to CN between them."""
    facts = right()
    facts["rows"][3] = ("CN", "cnc_state", "CN", 0, 3, 0)
    facts["policy_of"] = {(0, offset): "old" if offset < 3 else "new" for offset in range(8)}
    facts["policy_of"] |= {(1, 0): "old", (1, 1): "old"}
    facts["receipt_policies"] = ["old", "new", "old"]
    return facts


def write(data, facts):
    """Writes the stores."""
    def policies(places):
        return [facts["policy_of"][place] for place in places] if "policy_of" in facts else []

    def with_policies(name, column, places):
        return {name: column} if "policy_of" in facts and places else {}

    def table(zone, name, columns, partition_by=None):
        path = str(data / zone.lower() / name)
        deltalake.write_deltalake(path, pyarrow.table(columns), partition_by=partition_by)

    for zone, name in sorted({(zone, name) for zone, name, *_ in facts["rows"]}):
        rows = [row for row in facts["rows"] if row[:2] == (zone, name)]
        _, _, tags, partitions, offsets, numbers = (list(column) for column in zip(*rows, strict=True))
        table(zone, name, {
            "_topic": pyarrow.array([TOPIC] * len(rows)).dictionary_encode(),
            "_partition": pyarrow.array(partitions, pyarrow.int32()),
            "_offset": pyarrow.array(offsets, pyarrow.int64()),
            "_row": pyarrow.array(numbers, pyarrow.int32()),
            "_zone": pyarrow.array(tags).dictionary_encode(),
            "part_count": pyarrow.array([offset * 10 for offset in offsets], pyarrow.int64()),
            "serial": pyarrow.array(
                [facts.get("serials", {}).get(place, place[0] * 100 + place[1])
                 for place in zip(partitions, offsets, strict=True)], pyarrow.int64(),
            ),
            **with_policies("_policy", policies(zip(partitions, offsets, strict=True)), offsets),
            "event_date": [datetime.date(2026, 3, 1 + offset % 2) for offset in offsets],
        }, ["event_date"])
    for zone in sorted({entry[0] for entry in facts["quarantine"]}):
        entries = [entry[1:] for entry in facts["quarantine"] if entry[0] == zone]
        partitions, offsets, reasons, payloads = (list(column) for column in zip(*entries, strict=True))
        table(zone, "quarantine", {
            "topic": [TOPIC] * len(entries),
            "partition": pyarrow.array(partitions, pyarrow.int32()),
            "offset": pyarrow.array(offsets, pyarrow.int64()),
            "reason": reasons,
            "payload": pyarrow.array(payloads, pyarrow.binary()),
            **with_policies("policy", policies(zip(partitions, offsets, strict=True)), offsets),
        })
    for zone in sorted({receipt[0] for receipt in facts["receipts"]}):
        receipts = [receipt[1:] for receipt in facts["receipts"] if receipt[0] == zone]
        columns = list(zip(*receipts, strict=True))
        table(zone, "receipts", {
            "topic": [TOPIC] * len(receipts),
            "partition": pyarrow.array(columns[0], pyarrow.int32()),
            **{name: pyarrow.array(column, pyarrow.int64()) for name, column in zip(RECEIPT, columns[1:], strict=True)},
            **with_policies("policy", facts.get("receipt_policies"), receipts),
        })


EXPECTATIONS = {
    "legend": {
        "a": ["zone:EU"],
        "b": ["zone:CN+EU"],
        "c": ["quarantine:invalid-json"],
        "d": ["without-rows"],
        "e": ["zone:CN"],
    },
    "topics": {TOPIC: {"0": "aaaaabcd", "1": "ee"}},
    "payloads": [[TOPIC, 0, 6, hashlib.sha256(b"{").hexdigest()]],
    "sums": {"cnc_state": {"EU": {"part_count": 190}, "CN": {"part_count": 60}}},
}


# Letter m is of the device that moved.
MOVED = {
    "legend": {**EXPECTATIONS["legend"], "m": ["zone:CN", "zone:EU"]},
    "policies": {
        "old": {**EXPECTATIONS["legend"], "m": ["zone:EU"]},
        "new": {**EXPECTATIONS["legend"], "m": ["zone:CN"]},
    },
    "topics": {TOPIC: {"0": "aammabcd", "1": "ee"}},
    "serials": {"cnc_state": {"column": "serial", "stride": 100, "rows": 1}},
}


def verified(facts, *arguments, orphan=None, expectations=None):
    """Exit code and output of verify.py over these facts."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = folder / "data"
        data.mkdir()
        write(data, facts)
        if orphan:
            orphan(data)
        if expectations:
            (folder / "expectations.json").write_text(json.dumps(expectations))
            arguments = ["--expectations", str(folder / "expectations.json")]
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            code = verify.main([str(data), *(arguments or [f"--expect={TOPIC}=0:8,1:2"])])
        return code, output.getvalue()


class Faults(unittest.TestCase):
    """Each fault on its own."""

    def good(self, *arguments, **named):
        code, output = verified(right(), *arguments, **named)
        self.assertEqual(code, 0, output)
        self.assertIn("verify: ok, 10 messages = 8 stored + 1 quarantined + 1 without rows", output)

    def found(self, change, text, **named):
        facts = copy.deepcopy(right())
        change(facts)
        code, output = verified(facts, **named)
        self.assertEqual(code, 1, output)
        self.assertIn(text, output)
        self.assertIn("verify: FAILED", output)

    def test_right(self):
        self.good()
        self.good(f"--expect-total={TOPIC}=10")
        self.good(expectations=EXPECTATIONS)

    def test_rows(self):
        self.found(lambda f: f["rows"].append(f["rows"][0]), "0/0: rows [0, 0] in ['EU']")
        self.found(lambda f: f["rows"].append(("CN", "cnc_state", "CN", 0, 0, 0)), "0/0: rows [0, 0] in ['CN', 'EU']")
        self.found(lambda f: f["rows"].pop(2), "2 offsets are nowhere, the receipts know of 1")
        self.found(lambda f: f["rows"].remove(("EU", "cnc_state", "EU", 0, 5, 0)), "0/5: rows [1] in ['CN']")
        self.found(lambda f: f["rows"].append(("EU", "other", "EU", 0, 0, 1)), "0/0: in more than one pipeline's table")
        self.found(lambda f: f["rows"].append(("EU", "cnc_state", "EU", 0, 6, 0)), "0/6: in a zone and in quarantine")
        self.found(lambda f: f["rows"].append(("EU", "cnc_state", "EU", 0, 8, 0)), "1 offsets outside 0..8, such as 8")
        self.found(lambda f: f["rows"].append(("EU", "cnc_state", "EU", 2, 0, 0)), "2: nothing was expected")

    def test_zones(self):
        def foreign(facts):
            facts["rows"][0] = ("EU", "cnc_state", "CN", 0, 0, 0)

        self.found(foreign, "0/0 row 0: _zone CN in a directory of EU")
        self.found(lambda f: f["quarantine"].append(("CN", 0, 7, "empty", b"")), "in more than one store: ['cn', 'eu']")

        def orphan(data):
            """What a crash leaves behind: a whole file and half a one."""
            whole = io.BytesIO()
            pyarrow.parquet.write_table(pyarrow.table({"_zone": ["EU", "CN"]}), whole)
            (data / "eu" / "cnc_state" / "whole.parquet").write_bytes(whole.getvalue())
            (data / "eu" / "cnc_state" / "half.parquet").write_bytes(whole.getvalue()[:50])

        self.found(lambda f: None, "a file outside the log of a table of EU holds rows of ['CN']", orphan=orphan)
        self.found(lambda f: None, "files outside the logs: 2, unreadable: 1", orphan=orphan)

    def test_quarantine(self):
        self.found(lambda f: f["quarantine"].append(f["quarantine"][0]), "0/6: 2 times in quarantine")
        self.found(lambda f: f["quarantine"].pop(), "2 offsets are nowhere")

    def test_receipts(self):
        def number(receipt, column, value):
            def change(facts):
                facts["receipts"][receipt][2 + RECEIPT.index(column)] = value

            return change

        self.found(lambda f: f["receipts"].pop(0), "the receipt 3..8 does not continue at 0")
        self.found(lambda f: f["receipts"].pop(1), "0: settled 3 of 8")
        self.found(lambda f: f["receipts"].append(f["receipts"][0]), "the receipt 0..3 does not continue at 3")
        self.found(lambda f: f["receipts"].clear(), "0: settled 0 of 8")
        self.found(number(0, "end_offset", 2), "the receipt 3..8 does not continue at 2")
        self.found(number(0, "messages", 4), "the receipt 0..3 counts 4 messages, its parts 3")
        self.found(number(1, "without_rows", 0), "the receipts know of 0 without rows")
        self.found(number(1, "stored_rows", 4), "says stored_rows 4, the tables hold 5")
        self.found(number(1, "stored_messages", 2), "says stored_messages 2, the tables hold 3")
        self.found(number(1, "quarantined_messages", 2), "says quarantined_messages 2, the tables hold 1")

    def test_expectations(self):
        def expect(**changes):
            return {**EXPECTATIONS, **changes}

        letters = expect(topics={TOPIC: {"0": "aaeaabcd", "1": "ee"}})
        text = "1 messages expected in zone:CN are in zone:EU, such as cnc.state/0/2"
        self.found(lambda f: None, text, expectations=letters)
        bytes_changed = expect(payloads=[[TOPIC, 0, 6, hashlib.sha256(b"}").hexdigest()]])
        self.found(lambda f: None, "0/6: quarantine holds other bytes than were sent", expectations=bytes_changed)
        tombstone = expect(payloads=[[TOPIC, 0, 6, None]])
        self.found(lambda f: None, "0/6: quarantine holds other bytes than were sent", expectations=tombstone)
        total = expect(sums={"cnc_state": {"EU": {"part_count": 191}}})
        self.found(lambda f: None, "cnc_state in EU: part_count sums to 190, 191 was sent", expectations=total)

    def moved(self, change, *texts, code=1):
        facts = judged()
        # One row per message, as the expectations say.
        facts["rows"] = [row for row in facts["rows"] if row[5] == 0 and row[4] != 5 or row[3] == 1]
        facts["rows"].append(("EU", "cnc_state", "EU", 0, 5, 0))
        facts["receipts"][1] = ["EU", 0, 3, 8, 5, 1, 3, 3, 1, 0]
        change(facts)
        expectations = {**MOVED, "legend": {**MOVED["legend"], "b": ["zone:EU"]}, "policies": {
            version: {**legend, "b": ["zone:EU"]} for version, legend in MOVED["policies"].items()
        }}
        found, output = verified(facts, expectations=expectations)
        self.assertEqual(found, code, output)
        for text in texts:
            self.assertIn(text, output)

    def test_a_policy_that_moved_a_device(self):
        self.moved(lambda f: None, "verify: ok, 10 messages", code=0)
        # Lost, doubled, and in both zones.
        self.moved(lambda f: f["rows"].pop(3), "2 offsets are nowhere, the receipts know of 1",
                   "1 messages expected in zone:CN under policy new are in without-rows, such as cnc.state/0/3")
        self.moved(lambda f: f["rows"].append(f["rows"][3]), "0/3: rows [0, 0] in ['CN']")
        self.moved(lambda f: f["rows"].append(("EU", "cnc_state", "EU", 0, 3, 0)), "0/3: rows [0, 0] in ['CN', 'EU']",
                   "1 messages expected in zone:CN under policy new are in zone:CN+EU, such as cnc.state/0/3")

        def stays(facts):
            facts["rows"][3] = ("EU", "cnc_state", "EU", 0, 3, 0)

        self.moved(stays, "1 messages expected in zone:CN under policy new are in zone:EU, such as cnc.state/0/3")

        def stale(facts):
            facts["policy_of"][0, 4] = "old"

        text = "1 messages judged by policy old have a receipt of policy new, such as cnc.state/0/4"
        self.moved(stale, text)

        def stale_in_quarantine(facts):
            facts["policy_of"][0, 6] = "old"

        self.moved(stale_in_quarantine, text.replace("0/4", "0/6"))

        def unknown(facts):
            facts["receipt_policies"][2] = "other"
            facts["policy_of"] |= {(1, 0): "other", (1, 1): "other"}

        self.moved(unknown, "2 messages expected in nowhere: the policy is not known under policy other are in zone:CN")

    def test_each_row_is_of_its_message(self):
        self.moved(lambda f: f.update(serials={(0, 1): 2}), "1 rows of cnc_state in EU are of other messages by serial, "
                   "such as 0/1")

        def second_row(facts):
            facts["rows"].append(("EU", "cnc_state", "EU", 0, 1, 1))
            facts["receipts"][0] = ["EU", 0, 0, 3, 3, 0, 3, 4, 0, 0]

        self.moved(second_row, "cnc.state/0: 1 messages have not 1 rows, such as 1")

    def test_nothing(self):
        facts = {"rows": [], "quarantine": [], "receipts": []}
        code, output = verified(facts)
        self.assertEqual(code, 1, output)
        self.assertIn("no receipts under", output)


if __name__ == "__main__":
    unittest.main()
