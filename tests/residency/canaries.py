#!/usr/bin/env python3
"""Makes messages in which every text is a token of its zone, and searches whatever a run has left for them.

A token says where it may lie: `cnryCN…` in the store of CN and nowhere else, `cnryEU…` in that of EU, `cnryQU…` in
the quarantine of the home zone and nowhere else; `cnryPE…` stands in personal fields of messages that can be placed, and may
lie nowhere. See the script `canaries` beside this one.
"""

import argparse
import base64
import collections
import copy
import datetime
import itertools
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "kafka"))

TOKEN = re.compile(rb"cnry(CN|EU|QU|PE)[0-9a-f]{20}")
# The same however it is written, also cut off.
TRACE = re.compile(rb"cnry(CN|EU|QU|PE)[0-9a-f]*", re.IGNORECASE)
# What a token looks like to whoever encodes it: base64 at each of three alignments, hexadecimal, UTF-16.
ENCODED = {
    "base64": re.compile(rb"Y25ye[UV]|Nucnl[DFRQ]|jbnJ5[QRU]"),
    "hexadecimal": re.compile(rb"636e7279(434e|4555|5155|5045)", re.IGNORECASE),
    "UTF-16": re.compile(rb"c\0n\0r\0y\0"),
}
# Where a token of a kind may lie; all other places are leaks, and for personal ones (PE) every place is.
HOME = "EU"
PLACES = {"CN": "table of CN", "EU": "table of EU", "QU": "quarantine"}
# Fields that the shipped schemas drop, by their ways in a message.
PERSONAL = {("operator",)}
DEVICES = {"CN": "nn-cnc-001", "EU": "st-cnc-001"}


class Tokens:
    """Random tokens, and how many of each kind were given out."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.given = collections.Counter()

    def new(self, kind):
        """A token of a kind."""
        self.given[kind] += 1
        return f"cnry{kind}{self.random.getrandbits(80):020x}"


# ---------------------------------------------------------------- messages


def texts(value, path=()):
    """The paths to all texts of a message, names of fields aside."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from texts(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))
    elif isinstance(value, str):
        yield path


def replaced(message, paths, new):
    """The message with a new text at each path."""
    message = copy.deepcopy(message)
    for path in paths:
        place = message
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = new()
    return message


def judged(situs, pipeline, messages, case):
    """What `situs try` says of each message: its zone, or None."""
    command = [situs, "try", "--json", "--pipeline", pipeline, "--topic", case["topic"],
               "--pipelines", ROOT / "pipelines", "--schemas", ROOT / "schemas"]
    if case.get("key"):
        command += ["--key", case["key"]]
    for name, value in (case.get("headers") or {}).items():
        command += ["--header", f"{name}={value}"]
    lines = "\n".join(json.dumps(message) for message in messages)
    output = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    zones = []
    for line in output.stdout.splitlines():
        rows = json.loads(line).get("rows") or [{}]
        found = {row.get("zone") for row in rows}
        zones.append(found.pop() if len(found) == 1 else None)
    if len(zones) != len(messages):
        sys.exit(f"canaries: {pipeline}: situs try answered {len(zones)} of {len(messages)}: {output.stderr[:300]}")
    return zones


def payload(message, tokens_escaped=False):
    """JSON, on request with an escape in each token, which only a decoder undoes."""
    text = json.dumps(message, ensure_ascii=False)
    return (text.replace('"cnry', '"\\u0063nry') if tokens_escaped else text).encode()


def make(arguments):
    """Writes the messages: a line of JSON each, payload and key in base64."""
    tokens = Tokens(arguments.seed)
    messages, fields = [], 0
    out = []

    def add(topic, kind, body, key=None, headers=()):
        encode = lambda value: None if value is None else base64.b64encode(value).decode()
        out.append({"topic": topic, "kind": kind, "payload": encode(body), "key": encode(key),
                    "headers": [[name, encode(value)] for name, value in headers]})

    def own(kind):
        """Key and headers with tokens of their own."""
        name, value = tokens.new(kind), tokens.new(kind).encode()
        return tokens.new(kind).encode(), [(name, value), ("trace", tokens.new(kind).encode())]

    for path in sorted(ROOT.glob("pipelines/*/cases/*.json")):
        case = json.loads(path.read_text())
        pipeline = path.parent.parent.name
        message, zone = case.get("message"), case.get("expect", {}).get("zone")
        if not isinstance(message, dict) or zone not in ("CN", "EU"):
            continue
        paths = list(texts(message))
        probe = Tokens(0)
        alone = [replaced(message, [at], lambda: probe.new(zone)) for at in paths]
        zones = judged(arguments.situs, pipeline, [message, *alone], case) if paths else [None]
        free = [at for at, found in zip(paths, zones[1:]) if found == zone]
        whole = replaced(message, free, lambda: probe.new(zone))
        if zones[0] != zone or not free or judged(arguments.situs, pipeline, [whole], case) != [zone]:
            continue
        fields += len(free)
        messages.append((pipeline, case, message, free, zone))
        keyed = (case.get("key") or "").encode() or None
        fixed = [(name, value.encode()) for name, value in (case.get("headers") or {}).items()]
        for turn in range(arguments.rounds):
            marked = replaced(message, free, lambda: tokens.new(zone))
            marked = replaced(marked, [at for at in free if at in PERSONAL], lambda: tokens.new("PE"))
            body = payload(marked, turn % 3 == 2)
            key, headers = own(zone)
            add(case["topic"], zone, body, keyed or key, fixed + headers)
            # The same message in ways in which it must not pass.
            key, headers = own("QU")
            broken = payload(replaced(message, free, lambda: tokens.new("QU")))
            add(case["topic"], "QU", broken[:-1 - turn % 5], keyed or key, fixed + headers)
            add(case["topic"], "QU", broken.replace(b"cnryQU", b"\xffcnryQU", 1), keyed or key, fixed + headers)

    device = itertools.cycle(DEVICES.values())
    for _ in range(arguments.rounds * 10):
        def state(**more):
            body = {"device": next(device), "timestamp": "2026-03-01T12:00:00Z", "execution": tokens.new("QU"),
                    "program": tokens.new("QU"), "operator": tokens.new("QU"), **more}
            add("cnc.state", "QU", payload(body), *own("QU"))
        state(device=tokens.new("QU"))
        state(country=tokens.new("QU"))
        state(country="CN", device=DEVICES["EU"])
        state(timestamp=tokens.new("QU"))
        state(spindleSpeed=tokens.new("QU"))
        state(axes=[tokens.new("QU"), {tokens.new("QU"): 1}])
        # DataFusion's lpad panics on it, by the rule that the script adds.
        state(line=-1)
        state(block=tokens.new("QU") + "x" * 1_200_000 if tokens.given["QU"] % 50 == 0 else tokens.new("QU"), line="x")
        name = tokens.new("QU")
        add("cnc.state", "QU", f'{{"{name}":1,"{name}":'.encode(), *own("QU"))
        add("cnc.state", "QU", None, *own("QU"))
        add("cnc.state", "QU", tokens.new("QU").encode(), *own("QU"))
    random.Random(arguments.seed).shuffle(out)
    with arguments.out.open("w") as file:
        for line in out:
            file.write(json.dumps(line) + "\n")
    pipelines = len({pipeline for pipeline, *_ in messages})
    print(json.dumps({"messages": len(out), "tokens": sum(tokens.given.values()), "given": dict(tokens.given),
                      "cases": len(messages), "pipelines": pipelines, "fields": fields,
                      "topics": sorted({line["topic"] for line in out})}))


def produce(arguments):
    """Sends the messages of `make`."""
    from produce import Sender  # pylint: disable=import-outside-toplevel

    senders, offsets = {}, collections.Counter()
    with arguments.messages.open() as file:
        lines = [json.loads(line) for line in file]
    decode = lambda value: None if value is None else base64.b64decode(value)
    for line in lines:
        topic = line["topic"]
        if topic not in senders:
            senders[topic] = Sender(arguments.brokers, topic)
        headers = [(name, decode(value)) for name, value in line["headers"]]
        senders[topic].send(0, offsets[topic], decode(line["key"]), decode(line["payload"]), headers)
        offsets[topic] += 1
        if sum(offsets.values()) % 50 == 0:
            for sender in senders.values():
                sender.producer.poll(0)
            time.sleep(arguments.pause)
    for sender in senders.values():
        sender.finish()
    print(json.dumps({"sent": sum(offsets.values())}))


# ---------------------------------------------------------------- the search


class Search:
    """What was searched, and what was found where it may not be."""

    def __init__(self):
        self.leaks = []
        self.found = collections.defaultdict(set)
        self.files = 0
        self.bytes = 0
        self.values = 0

    def leak(self, place, what):
        self.leaks.append(f"{place}: {what}")

    def tokens(self, data, place, allowed, name):
        """Searches bytes; `allowed` is the kind of tokens that may be in them."""
        self.bytes += len(data)
        kinds = collections.Counter()
        for match in TRACE.finditer(data):
            kind = match.group(1).decode().upper()
            if kind != allowed:
                kinds[kind] += 1
            elif TOKEN.fullmatch(match.group(0)):
                self.found[place].add(match.group(0))
        for kind, count in kinds.items():
            self.leak(name, f"{count} tokens of {kind} in {place}")
        for encoding, pattern in ENCODED.items():
            if allowed is None and pattern.search(data):
                self.leak(name, f"a token in {encoding} in {place}")

    def file(self, path, place, allowed, shown):
        """Searches a file's bytes, and if it is Parquet, its values too."""
        data = path.read_bytes()
        self.files += 1
        self.tokens(data, place, allowed, shown)
        if path.suffix == ".parquet":
            self.parquet(path, place, allowed, shown)

    def parquet(self, path, place, allowed, shown):
        """Searches every value of a Parquet file, and what its footer says."""
        import pyarrow as pa  # pylint: disable=import-outside-toplevel
        import pyarrow.parquet as pq  # pylint: disable=import-outside-toplevel

        file = pq.ParquetFile(path)
        self.tokens(repr(file.metadata.to_dict()).encode(), place, allowed, f"{shown} (footer)")
        table = file.read()
        for name, column in zip(table.column_names, table.columns):
            self.values += len(column)
            for chunk in column.chunks:
                while isinstance(chunk, pa.DictionaryArray):
                    chunk = chunk.dictionary_decode()
                self.tokens(repr(chunk.to_pylist()).encode(), place, allowed, f"{shown} (column {name})")


def place_of(zone, relative):
    """Which place a file of a root is, and the kind of tokens that it may hold."""
    parts = relative.parts
    data = relative.suffix == ".parquet" and "_delta_log" not in parts and not parts[0].startswith("_")
    if data and parts[0] == "quarantine" and zone == HOME:
        return "quarantine", "QU"
    if data and parts[0] not in ("quarantine", "receipts", "releases"):
        return f"table of {zone}", zone
    return f"{zone}: logs, markers, archives, receipts", None


def search_all(roots, others):
    """Searches the roots by zone, and everything else, in which no token may be."""
    search = Search()
    for zone, root in roots.items():
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            search.tokens(str(relative).encode(), "names of files", None, f"{zone}:{relative}")
            if path.is_file():
                place, allowed = place_of(zone, relative)
                search.file(path, place, allowed, f"{zone}:{relative}")
    for other in others:
        paths = [other] if other.is_file() else sorted(other.rglob("*"))
        for path in paths:
            search.tokens(str(path.name).encode(), "names of files", None, str(path.name))
            if path.is_file():
                search.file(path, "logs, metrics, errors, temporary files, core dumps", None, path.name)
    return search


def search(arguments):
    """Searches what a run has left, and judges."""
    roots = {"CN": arguments.data / "cn", "EU": arguments.data / "eu"}
    result = search_all(roots, arguments.other)
    given = json.loads(arguments.given.read_text())["given"]
    for kind, place in PLACES.items():
        found = len(result.found.get(place, ()))
        # A search that finds nothing where something must be would prove nothing.
        if given.get(kind) and found * 10 < given[kind]:
            result.leak(place, f"only {found} of {given[kind]} tokens of {kind} were found where they belong")
    if not given.get("PE"):
        result.leak("messages", "none of them names a person, so nothing is proved of personal fields")
    for leak in result.leaks[:20]:
        print(f"leak: {leak}")
    print(json.dumps({"leaks": len(result.leaks), "files": result.files, "bytes": result.bytes, "values": result.values,
                      "found": {place: len(found) for place, found in sorted(result.found.items())}}))
    return 1 if result.leaks else 0


def self_test(_):
    """Plants a leak of each kind in a copy of nothing, and wants each to be found, and nothing without one."""
    import pyarrow as pa  # pylint: disable=import-outside-toplevel
    import pyarrow.parquet as pq  # pylint: disable=import-outside-toplevel

    token = {kind: f"cnry{kind}{'0f' * 10}" for kind in (*PLACES, "PE")}

    def table(path, text, dictionary=True, compression="zstd"):
        path.parent.mkdir(parents=True, exist_ok=True)
        column = pa.array([text, None, "x"])
        column = column.dictionary_encode() if dictionary else column
        pq.write_table(pa.table({"note": column, "n": [1, 2, 3]}), path, compression=compression)

    def nested(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"note": [[text], []], "raw": [text.encode(), b""]}), path, compression="zstd")

    def write(path, data):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    encoded = [base64.b64encode(b"x" * shift + token["CN"].encode()) for shift in range(3)]
    plants = {
        "another zone's token in a table": lambda top: table(top / "eu/t/event_date=2026-03-01/b.parquet", token["CN"]),
        "in a column without dictionary": lambda top: table(top / "cn/t/d/b.parquet", token["EU"], False),
        "without compression": lambda top: table(top / "cn/t/d/b.parquet", token["EU"], False, "none"),
        "in a list and in bytes": lambda top: nested(top / "cn/t/d/b.parquet", token["EU"]),
        "of quarantine in a table": lambda top: table(top / "eu/t/d/b.parquet", token["QU"]),
        "of a zone in quarantine": lambda top: nested(top / "eu/quarantine/d/b.parquet", token["CN"]),
        "of the home zone in quarantine": lambda top: nested(top / "eu/quarantine/d/b.parquet", token["EU"]),
        "quarantine outside of the home zone": lambda top: table(top / "cn/quarantine/d/b.parquet", token["QU"]),
        "a person in a table": lambda top: table(top / "eu/t/d/b.parquet", token["PE"]),
        "a person in quarantine, of a message that was placed": lambda top: nested(top / "eu/quarantine/d/b.parquet", token["PE"]),
        "in receipts": lambda top: table(top / "eu/receipts/d/b.parquet", token["EU"]),
        "in a log entry of its own zone": lambda top: write(top / "cn/t/_delta_log/1.json", token["CN"].encode()),
        "in a checkpoint": lambda top: table(top / "cn/t/_delta_log/1.checkpoint.parquet", token["CN"]),
        "in a temporary file": lambda top: write(top / "cn/t/_tmp_1", b"PAR1" + token["EU"].encode()),
        "in an archive": lambda top: write(top / "eu/_situs_policies/1.yaml", token["EU"].encode()),
        "in a file's name": lambda top: write(top / "cn/t" / token["CN"] / "x", b""),
        "in a log": lambda top: write(top / "log/run.log", b"event=x " + token["QU"].encode()),
        "in capitals": lambda top: write(top / "log/run.log", token["QU"].upper().encode()),
        "in hexadecimal": lambda top: write(top / "log/core", token["EU"].encode().hex().encode()),
        "in UTF-16": lambda top: write(top / "log/core", token["EU"].encode("utf-16-le")),
        **{f"in base64, alignment {shift}": lambda top, text=text: write(top / "log/metrics", text)
           for shift, text in enumerate(encoded)},
    }
    missed = []
    for name, plant in {"nothing": None, **plants}.items():
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder)
            for zone in ("cn", "eu"):
                table(top / zone / "t/event_date=2026-03-01/a.parquet", token[zone.upper()])
                write(top / zone / "t/_delta_log/0.json", b'{"add":{}}')
            nested(top / "eu/quarantine/quarantine_date=2026-03-01/a.parquet", token["QU"])
            write(top / "log/run.log", b"event=flushed partition=0\n")
            if plant:
                plant(top)
            found = search_all({"CN": top / "cn", "EU": top / "eu"}, [top / "log"])
            if bool(found.leaks) != bool(plant):
                missed.append(name)
    print(json.dumps({"planted": len(plants), "missed": missed}))
    return 1 if missed else 0


def watch(arguments):
    """Notes which files a process has open for writing while it runs, outside of the roots; one line each."""
    allowed = [str(path.resolve()) for path in arguments.allowed]
    seen, looks = set(), 0
    folder = pathlib.Path(f"/proc/{arguments.process}/fd")
    while folder.exists():
        try:
            for fd in folder.iterdir():
                target = os.readlink(fd)
                flags = int(re.search(r"flags:\s*(\d+)", pathlib.Path(f"/proc/{arguments.process}/fdinfo/{fd.name}").read_text()).group(1), 8)
                inside = any(target == root or target.startswith(root + "/") for root in allowed)
                if target.startswith("/") and not target.startswith(("/dev/", "/proc/")) and flags & 3 and not inside:
                    seen.add(target)
            looks += 1
        except OSError:
            pass
        time.sleep(0.02)
    arguments.out.write_text("".join(f"{path}\n" for path in sorted(seen)))
    print(json.dumps({"looks": looks, "outside": len(seen)}))


def main():
    """Does what the first argument says."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("make")
    verb.add_argument("--situs", required=True)
    verb.add_argument("--rounds", type=int, default=20)
    verb.add_argument("--seed", type=int, default=7)
    verb.add_argument("--out", type=pathlib.Path, required=True)
    verb.set_defaults(do=make)
    verb = verbs.add_parser("produce")
    verb.add_argument("--brokers", required=True)
    verb.add_argument("--pause", type=float, default=0.0)
    verb.add_argument("messages", type=pathlib.Path)
    verb.set_defaults(do=produce)
    verb = verbs.add_parser("search")
    verb.add_argument("--data", type=pathlib.Path, required=True)
    verb.add_argument("--given", type=pathlib.Path, required=True)
    verb.add_argument("other", type=pathlib.Path, nargs="*")
    verb.set_defaults(do=search)
    verb = verbs.add_parser("self-test")
    verb.set_defaults(do=self_test)
    verb = verbs.add_parser("watch")
    verb.add_argument("--process", type=int, required=True)
    verb.add_argument("--out", type=pathlib.Path, required=True)
    verb.add_argument("allowed", type=pathlib.Path, nargs="*")
    verb.set_defaults(do=watch)
    arguments = parser.parse_args()
    return arguments.do(arguments) or 0


if __name__ == "__main__":
    sys.exit(main())
