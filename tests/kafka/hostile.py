#!/usr/bin/env python3
"""Sends `cnc.state` messages that have broken parsers before, each between good ones.

The places where each must end follow docs/schemas.md; where it leaves a choice, both are allowed.
Prints the totals as JSON; with --expectations it writes the file that verify.py reads.
"""

import argparse
import json
import pathlib

import registry
from produce import ROOT, Expectations, Sender, create_topic

TIME = '"timestamp":"2026-03-01T12:00:00.5Z"'
LARGE_BYTES = 20_000_000
# Stands in most payloads and must stand in no log.
CANARY = "canary-b41d"
HUGE_NUMBER = "9" * 400


def hostile(device, zone):
    """Name, payload and right places of every hostile message."""
    head = f'{{"device":"{device}",{TIME},"operator":"{CANARY}"'
    stored = f"zone:{zone}"

    def rejected(*reasons):
        return tuple(f"quarantine:{reason}" for reason in reasons)

    def text(fields, *places):
        return f"{head},{fields}}}".encode(), places

    good = text('"spindleSpeed":100', stored)[0]

    def not_utf8(content):
        return good.replace(b'"spindleSpeed"', b'"program":"' + content + b'","spindleSpeed"'), rejected("invalid-utf8")

    return {
        "cut off": (good[:-9], rejected("invalid-json")),
        "two documents": (good + good, rejected("invalid-json")),
        "quotes of Python": (good.replace(b'"', b"'"), rejected("invalid-json")),
        "comma at the end": text('"spindleSpeed":1,', *rejected("invalid-json")),
        "not a number": text('"spindleSpeed":NaN', *rejected("invalid-json")),
        "leading zero": text('"spindleSpeed":01', *rejected("invalid-json")),
        "raw line feed in a text": text('"program":"a\nb"', *rejected("invalid-json")),
        "NUL bytes": (b"\0" * 64, rejected("invalid-json")),
        "20 MB": text(f'"remark":"{"x" * LARGE_BYTES}"', *rejected("too-large")),
        "tombstone": (None, rejected("tombstone")),
        "empty": (b"", rejected("empty")),
        "blanks": (b" \r\n\t ", rejected("empty", "invalid-json")),
        "byte order mark": (b"\xef\xbb\xbf" + good, (stored,)),
        "byte order mark alone": (b"\xef\xbb\xbf", rejected("empty", "invalid-json")),
        "two byte order marks": (b"\xef\xbb\xbf" * 2 + good, rejected("invalid-json")),
        "UTF-16": (good.decode().encode("utf-16"), rejected("invalid-utf8", "invalid-json")),
        "invalid UTF-8 in a text": not_utf8(b"\xff"),
        "overlong UTF-8": not_utf8(b"\xc0\xaf"),
        "UTF-8 cut off": not_utf8(b"\xe8\x85"),
        "half a surrogate pair": text(r'"program":"\ud800"', *rejected("invalid-json", "invalid-utf8")),
        "escaped NUL": text(r'"program":"a\u0000b"', stored),
        "depth 10,000": text('"x":' + "[" * 10_000 + "]" * 10_000, *rejected("too-deep")),
        "depth 10,000, objects": text('"x":' + '{"x":' * 10_000 + "1" + "}" * 10_000, *rejected("too-deep")),
        "depth 10,000, open": (b"[" * 10_000, rejected("too-deep", "invalid-json")),
        "duplicate key": text('"spindleSpeed":1,"spindleSpeed":2', stored),
        "duplicate device": text(f'"device":"{device}"', *rejected("duplicate-key")),
        "duplicate device, escaped": text(rf'"devic\u0065":"{device}"', *rejected("duplicate-key")),
        "duplicate claim": text('"country":"CN","country":"DE"', *rejected("duplicate-key")),
        "beyond i64": text('"partCount":9223372036854775808', *rejected("number-out-of-range")),
        "below i64": text('"partCount":-9223372036854775809', *rejected("number-out-of-range")),
        "largest i64": text('"partCount":9223372036854775807', stored),
        "beyond u64": text('"partCount":18446744073709551616', *rejected("number-out-of-range")),
        "fraction as integer": text('"partCount":1.5', *rejected("number-out-of-range", "wrong-type", "bad-number")),
        "whole number with fraction": text('"partCount":3.0', stored),
        "whole number with exponent": text('"partCount":1e3', stored),
        "beyond f64": text('"spindleSpeed":1e400', *rejected("number-out-of-range")),
        "beyond f64, in a text": text('"spindleSpeed":"1e400"', *rejected("number-out-of-range", "bad-number")),
        "400 digits": text(f'"spindleSpeed":{HUGE_NUMBER}', *rejected("number-out-of-range")),
        "beyond f64, unknown field": text('"x":1e400', stored, *rejected("number-out-of-range")),
        "beyond i64, unknown field": text(f'"x":{HUGE_NUMBER}', stored, *rejected("number-out-of-range")),
        "2^53 + 1": text('"spindleSpeed":9007199254740993', *rejected("number-out-of-range")),
        # Beyond 64 bits; docs/schemas.md rejects such a number wherever it stands.
        "2^64": text('"spindleSpeed":18446744073709551616', *rejected("number-out-of-range")),
        "below the smallest f64": text('"spindleSpeed":1E-400', stored),
        "negative zero": text('"spindleSpeed":-0.0', stored),
        "no device": (f"{{{TIME}}}".encode(), rejected("missing-field")),
        "device of another type": (f'{{"device":7,{TIME}}}'.encode(), rejected("wrong-type")),
        "no time": (f'{{"device":"{device}"}}'.encode(), rejected("missing-field")),
        "no such time": (f'{{"device":"{device}","timestamp":"2026-02-30T00:00:00Z"}}'.encode(), rejected("bad-time")),
        "list": (b"[" + good + b"]", rejected("wrong-type")),
        "null": (b"null", rejected("wrong-type")),
        "number": (b"7", rejected("wrong-type")),
        "empty object": (b"{}", rejected("missing-field")),
        "10,000 unknown fields": text(",".join(f'"u{i}":{i}' for i in range(10_000)), stored),
        "look-alike device": (f'{{"device":"{device} ",{TIME}}}'.encode(), rejected("unknown-device")),
    }


def main():
    """Sends, prints the totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", default="cnc.state")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--between", type=int, default=20, help="good messages before each hostile one")
    parser.add_argument("--recreate", action="store_true", help="delete and create the topic first")
    parser.add_argument("--policy", type=pathlib.Path, default=ROOT / "pipelines" / "policy.yaml")
    parser.add_argument("--expectations", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--list", action="store_true", help="print the names and places of the messages, send nothing")
    arguments = parser.parse_args()

    devices = registry.devices(arguments.policy, arguments.topic)
    messages = hostile(devices[0].id, devices[0].zone)
    if arguments.list:
        for name, (payload, places) in messages.items():
            print(f"{name:28} {len(payload or b''):>9} bytes  {' or '.join(places)}")
        return
    if arguments.recreate:
        create_topic(arguments.brokers, arguments.topic, arguments.partitions)
    sender = Sender(arguments.brokers, arguments.topic)
    expectations = Expectations(arguments.topic, arguments.partitions)
    where = {}
    # Keys and headers are hostile too: bytes that are no text, values that are null, a name twice.
    key = b"\xff\0" + CANARY.encode()
    headers = [("trace", b"\xff\0"), ("none", None), ("trace", b"2")]

    def send(partition, payload, places):
        offset = expectations.add(partition, places, payload)
        sender.send(partition, offset, key, payload, headers)
        return offset

    for index, (name, (payload, places)) in enumerate(messages.items()):
        partition = index % arguments.partitions
        for number in range(arguments.between):
            device = devices[(index + number) % len(devices)]
            text = f'{{"device":"{device.id}",{TIME},"partCount":{number}}}'
            send(partition, text.encode(), (f"zone:{device.zone}",))
        where[name] = f"{partition}/{send(partition, payload, places)}"
    sender.finish()
    if arguments.expectations:
        expectations.write(arguments.expectations)
    print(json.dumps({**expectations.summary(), "hostile": where}, ensure_ascii=False))


if __name__ == "__main__":
    main()
