#!/usr/bin/env python3
"""Sends made-up `cnc.state` messages to a topic, the same ones for the same arguments.

It prints, as JSON, how many messages must end where. With --expectations it also writes where
every single one must end, for verify.py. Messages go to the partitions in turn, with the device's
id as key.
"""

import argparse
import collections
import datetime
import hashlib
import json
import pathlib
import random
import string
import sys
import time

import confluent_kafka
import confluent_kafka.admin

import registry

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Two minutes before midnight, so that a run of some length has two event dates.
FIRST_TIME = datetime.datetime(2026, 3, 1, 23, 58, tzinfo=datetime.UTC)
VARIANTS = 48
MAX_MESSAGE_BYTES = 30_000_000


class Expectations:
    """Where every message must end: one letter per offset and a legend, since most are alike."""

    LETTERS = string.ascii_letters + string.digits

    def __init__(self, topic, partitions):
        self.topic = topic
        self.letters = [[] for _ in range(partitions)]
        self.legend = {}
        self.payloads = []
        self.sums = collections.defaultdict(lambda: collections.defaultdict(int))
        self.places = collections.Counter()

    def add(self, partition, places, payload):
        """Notes the next message of a partition and the places that are right for it."""
        letter = self.legend.get(places)
        if letter is None:
            letter = self.legend[places] = self.LETTERS[len(self.legend)]
        offset = len(self.letters[partition])
        self.letters[partition].append(letter)
        if any(place.startswith("quarantine:") for place in places):
            digest = None if payload is None else hashlib.sha256(payload).hexdigest()
            self.payloads.append([self.topic, partition, offset, digest])
        self.places[" or ".join(places)] += 1
        return offset

    def write(self, path):
        """Writes the file that verify.py reads."""
        path.write_text(json.dumps({
            "legend": {letter: list(places) for places, letter in self.legend.items()},
            "topics": {self.topic: {str(i): "".join(letters) for i, letters in enumerate(self.letters)}},
            "payloads": self.payloads,
            "sums": {"cnc_state": self.sums},
        }))

    def summary(self):
        """Totals, for people and for scripts."""
        return {
            "topic": self.topic,
            "messages": sum(map(len, self.letters)),
            "partitions": {str(i): len(letters) for i, letters in enumerate(self.letters)},
            "places": dict(sorted(self.places.items())),
            "sums": self.sums,
        }


class Sender:
    """An idempotent producer that checks that every message got the offset expected of it."""

    def __init__(self, brokers, topic):
        self.topic = topic
        self.delivered = 0
        self.failures = []
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": brokers,
            "enable.idempotence": True,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "linger.ms": 20,
            "message.timeout.ms": 300_000,
            # A broker that is down for a while is part of the tests.
            "log_level": 2,
        })

    def send(self, partition, offset, key, payload, headers=()):
        """Queues a message; waits while the queue is full."""
        def delivered(error, message):
            if error is not None:
                self.failures.append(f"{self.topic}/{partition}/{offset}: {error.code()}")
            elif message.offset() != offset:
                self.failures.append(f"{self.topic}/{partition}/{offset}: got the offset {message.offset()}")
            else:
                self.delivered += 1

        while True:
            try:
                self.producer.produce(
                    self.topic, payload, key, partition, on_delivery=delivered, headers=list(headers)
                )
                return
            except BufferError:
                self.producer.poll(0.05)

    def finish(self):
        """Waits for all; ends the program if one did not arrive as expected."""
        left = self.producer.flush(300)
        if left:
            self.failures.append(f"{left} messages were not delivered in time")
        if self.failures:
            sys.exit(f"produce: {len(self.failures)} failures, the first: {self.failures[0]}")


def create_topic(brokers, topic, partitions, settings=None):
    """Creates a topic with such settings, after deleting the one of that name if there is one."""
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": brokers})
    for _ in range(50):
        if topic not in admin.list_topics(timeout=10).topics:
            break
        admin.delete_topics([topic])[topic].result(10)
        time.sleep(0.1)
    new = confluent_kafka.admin.NewTopic(topic, partitions, 1, config=settings or {})
    admin.create_topics([new])[topic].result(10)
    # Only when the metadata names a leader for each partition will clients find it.
    for _ in range(100):
        found = admin.list_topics(timeout=10).topics.get(topic)
        if found and len(found.partitions) == partitions and all(p.leader >= 0 for p in found.partitions.values()):
            return
        time.sleep(0.1)
    sys.exit(f"produce: the topic {topic} did not appear")


class Generator:
    """Makes the messages. Most of a message is one of a few variants, for speed."""

    def __init__(self, seed, devices):
        self.random = random.Random(seed)
        self.devices = devices
        self.variants = [self.variant() for _ in range(VARIANTS)]
        self.second, self.second_text = None, ""

    def variant(self):
        """Text before and after the numbers that change, and its spindle speed."""
        pick = self.random.choice
        # Halves, so that sums are exact.
        speed = self.random.randrange(0, 24_000) / 2
        positions = [round(self.random.uniform(-400, 400), 3) for _ in range(4)] + [pick([-0.0, 1.28e-4, None])]
        body = {
            "execution": pick(["ACTIVE", "READY", "INTERRUPTED", "FEED_HOLD", "STOPPED", "UNAVAILABLE"]),
            "mode": pick(["AUTOMATIC", "MANUAL", "MANUAL_DATA_INPUT"]),
            "program": pick(["O1234", "腔体_粗加工.NC", "GEHÄUSE-7.MPF"]),
            "line": pick([self.random.randrange(9000), str(self.random.randrange(9000))]),
            "axes": ["X", "Y", "Z", "A", "C"],
            "positions": positions,
            "loads": [self.random.randrange(120) for _ in range(5)],
            "spindleSpeed": pick([speed, str(speed)]),
            "spindleLoad": self.random.randrange(100),
            "spindleTemperature": pick([round(self.random.uniform(20, 60), 1), "UNAVAILABLE", None]),
            "feed": round(self.random.uniform(0, 200), 2),
            "feedOverride": 100,
            "tool": pick(["T12", "T7", "FRÄSER_D16"]),
            "power": self.random.randrange(12_000),
        }
        if self.random.random() < 0.1:
            body["alarm"] = pick(["EX1001", "25050"])
        if self.random.random() < 0.3:
            body["intervention"] = pick(["ToolChange", "PartLoad", "None"])
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))[1:]
        fraction, zone = pick(["", ".%03d", ".%03d250", ".%03d2500"]), pick(["Z", "Z", "+08:00", "+01:00"])
        return fraction, zone, text, speed

    def time_text(self, index, fraction, zone):
        """One message a millisecond."""
        second, ms = divmod(index, 1000)
        if second != self.second:
            self.second = second
            self.second_text = (FIRST_TIME + datetime.timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        return self.second_text + (fraction % ms if fraction else "") + zone

    def good(self, index, device, claim):
        """A message that must be stored if the device is registered; and its spindle speed."""
        fraction, zone, text, speed = self.variants[self.random.randrange(VARIANTS)]
        when = self.time_text(index, fraction, zone)
        country = f'"country":"{claim}",' if claim else ""
        return f'{{"device":"{device}","timestamp":"{when}",{country}"partCount":{index},{text}', speed

    def malformed(self, index, device):
        """A payload that must be rejected, and the reason."""
        text, _ = self.good(index, device, None)
        return MALFORMED[self.random.randrange(len(MALFORMED))](text)


def cut(text):
    """The text up to the middle of an ASCII part."""
    return text[: text.index('"axes"') + 3].encode()


# The kinds of malformed messages, each with the reject that schema and decoder document for it.
MALFORMED = [
    lambda text: (cut(text), "invalid-json"),
    lambda text: ((text + text).encode(), "invalid-json"),
    lambda text: (text.replace('"', "'").encode(), "invalid-json"),
    lambda text: (text.replace('"feedOverride":100', '"feedOverride":NaN').encode(), "invalid-json"),
    lambda text: (text.encode().replace(b'"AUTO', b'"\xff\xfeAUTO').replace(b'"MANU', b'"\xc3(MANU'), "invalid-utf8"),
    lambda text: (f"[{text}]".encode(), "wrong-type"),
    lambda text: (text.replace('"axes":[', '"axes":["\\u0058",{},').encode(), "wrong-type"),
    lambda text: (text.replace('"device":', '"gerät":').encode(), "missing-field"),
    lambda text: (text.replace('"feedOverride":100', '"feedOverride":"fast"').encode(), "bad-number"),
    lambda text: (text.replace('"partCount":', '"partCount":99999999999999999999').encode(), "number-out-of-range"),
    lambda text: (text.replace('"timestamp":"', '"timestamp":"on ').encode(), "bad-time"),
    lambda text: (text.replace("{", '{"device":"another",', 1).encode(), "duplicate-key"),
    lambda text: (text.replace("{", '{"x":' + "[" * 200 + "]" * 200 + ",", 1).encode(), "too-deep"),
    lambda _: (b"", "empty"),
    lambda _: (None, "tombstone"),
]


def main():
    """Generates, sends, prints the totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--brokers")
    target.add_argument("--print", action="store_true", help="print good messages, one a line, and send nothing")
    parser.add_argument("--topic", default="cnc.state")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--malformed", type=float, default=0.01, help="share of malformed messages")
    parser.add_argument("--unknown-device", type=float, default=0.01, help="share from no registered device")
    parser.add_argument("--wrong-claim", type=float, default=0.002, help="share that claims another country")
    parser.add_argument("--rate", type=float, help="messages per second; as fast as it can without it")
    parser.add_argument("--recreate", action="store_true", help="delete and create the topic first")
    parser.add_argument("--policy", type=pathlib.Path, default=ROOT / "pipelines" / "policy.yaml")
    parser.add_argument("--expectations", type=pathlib.Path, metavar="FILE")
    arguments = parser.parse_args()

    devices = registry.devices(arguments.policy, arguments.topic)
    generator = Generator(arguments.seed, devices)
    if arguments.print:
        for index in range(arguments.count):
            print(generator.good(index, devices[index % len(devices)].id, None)[0])
        return
    chance = generator.random.random
    expectations = Expectations(arguments.topic, arguments.partitions)
    if arguments.recreate:
        create_topic(arguments.brokers, arguments.topic, arguments.partitions)
    sender = Sender(arguments.brokers, arguments.topic)

    bad = arguments.malformed
    unknown = bad + arguments.unknown_device
    claiming = unknown + arguments.wrong_claim
    started = time.monotonic()
    total_bytes = 0
    for index in range(arguments.count):
        partition = index % arguments.partitions
        device = devices[generator.random.randrange(len(devices))]
        dice = chance()
        key = device.id
        speed = 0
        if dice < bad:
            payload, reason = generator.malformed(index, device.id)
            places = (f"quarantine:{reason}",)
        elif dice < unknown:
            key = f"unregistered-{index % 10}"
            payload, places = generator.good(index, key, None)[0].encode(), ("quarantine:unknown-device",)
        elif dice < claiming:
            claim = "DE" if device.jurisdiction != "DE" else "CN"
            payload, places = generator.good(index, key, claim)[0].encode(), ("quarantine:claim-contradicts-registry",)
        else:
            claim = device.jurisdiction if dice < 0.5 else None
            text, speed = generator.good(index, key, claim)
            payload, places = text.encode(), (f"zone:{device.zone}",)
            sums = expectations.sums[device.zone]
            sums["part_count"] += index
            sums["spindle_speed"] += speed
        offset = expectations.add(partition, places, payload)
        sender.send(partition, offset, key, payload)
        total_bytes += len(payload or b"")
        if index % 500 == 0:
            sender.producer.poll(0)
            if arguments.rate:
                time.sleep(max(0.0, started + index / arguments.rate - time.monotonic()))
    # Before waiting for the broker: a test that needs the file has it even if this is killed then.
    if arguments.expectations:
        expectations.write(arguments.expectations)
    sender.finish()
    seconds = time.monotonic() - started
    print(json.dumps({
        **expectations.summary(),
        "bytes": total_bytes,
        "seconds": round(seconds, 3),
        "messages_per_second": round(arguments.count / seconds),
    }))


if __name__ == "__main__":
    main()
