#!/usr/bin/env python3
"""Sends messages of known content to the topics of a chaos run until told to stop.

Every message can be told from all others: a number made of its partition and its offset stands in a
column of its rows. At the end it writes where each one must be under each of the policies, as
verify.py reads it, and how many the broker has acknowledged in each partition.

Commands come on standard input, one a line: `grow TOPIC PARTITIONS`, `stop`. A line of standard output is
written every second: how many messages were acknowledged so far.
"""

import argparse
import json
import pathlib
import queue
import random
import sys
import threading
import time

import confluent_kafka

import registry
from produce import MAX_MESSAGE_BYTES, Expectations, Generator

# More than any partition will hold.
STRIDE = 10**9
STATE, WAVEFORM = "cnc.state", "cnc.waveform"
SIGNALS = 2
# Of so many messages one is a waveform.
WAVEFORM_EVERY = 5
REJECTED, UNKNOWN, CONTRADICTING, WITHOUT_ROWS = 0.01, 0.01, 0.005, 0.05


def serial(partition, offset):
    """The number that a message carries."""
    return partition * STRIDE + offset


class Placer:
    """Where a record must be, under each policy."""

    def __init__(self, policies):
        self.zones = [
            {device.id: device for device in registry.devices(path, STATE)} for path in policies
        ]

    def places(self, device, claim=None):
        """One place for each policy."""
        return tuple(self.place(devices.get(device), claim) for devices in self.zones)

    @staticmethod
    def place(device, claim):
        """The place under one policy."""
        if device is None:
            return "quarantine:unknown-device"
        if claim is not None and claim != device.jurisdiction:
            return "quarantine:claim-contradicts-registry"
        return f"zone:{device.zone}"

    def always(self, place):
        """The same place under each policy."""
        return (place,) * len(self.zones)


class States:
    """`cnc.state`: what produce.py makes, with a serial number."""

    def __init__(self, seed, devices, placer):
        self.generator = Generator(seed, devices)
        self.devices = devices
        self.random = self.generator.random
        self.placer = placer

    def message(self, index, partition, offset):
        """Key, payload, places."""
        device = self.devices[self.random.randrange(len(self.devices))].id
        dice = self.random.random()
        if dice < REJECTED:
            payload, reason = self.generator.malformed(index, device)
            return device, payload, self.placer.always(f"quarantine:{reason}")
        dice -= REJECTED
        if dice < UNKNOWN:
            device = f"unregistered-{index % 10}"
        claim = None
        if self.random.random() < 0.4:
            # What the device's first policy says, and seldom the opposite.
            claim = self.placer.zones[0][device].jurisdiction if device in self.placer.zones[0] else None
            if claim and self.random.random() < CONTRADICTING:
                claim = "CN" if claim == "DE" else "DE"
        text, _ = self.generator.good(index, device, claim)
        text = text.replace(f'"partCount":{index},', f'"partCount":{serial(partition, offset)},', 1)
        return device, text.encode(), self.placer.places(device, claim)


class Waveforms:
    """`cnc.waveform`: a message becomes two rows, or none by design."""

    def __init__(self, seed, devices, placer):
        self.random = random.Random(seed + 1)
        self.devices = devices
        self.placer = placer

    def message(self, _index, partition, offset):
        """Key, payload, places."""
        device = self.devices[self.random.randrange(len(self.devices))].id
        first = serial(partition, offset)
        cycles = [
            [first + cycle, *(round(self.random.uniform(-100, 100), 3) for _ in range(SIGNALS))]
            for cycle in range(self.random.randrange(1, 5))
        ]
        dice = self.random.random()
        if dice < WITHOUT_ROWS:
            event = {"HFTimestamp": {"Time": "2026-03-01T12:00:00.512Z", "HFProbeCounter": first}}
            return device, json.dumps(event).encode(), self.placer.always("without-rows")
        if dice < WITHOUT_ROWS + REJECTED:
            cycles.append([first + len(cycles), 0.5])
            return device, json.dumps({"HFData": cycles}).encode(), self.placer.always("quarantine:ragged-block")
        if dice < WITHOUT_ROWS + REJECTED + UNKNOWN:
            device = f"unregistered-{offset % 10}"
        return device, json.dumps({"HFData": cycles}).encode(), self.placer.places(device)


class Topic:
    """A topic and what has been sent to it."""

    def __init__(self, name, partitions, legend):
        self.name = name
        self.expected = Expectations(name, partitions)
        # Letters mean the same for all topics.
        self.expected.legend = legend
        self.acknowledged = [0] * partitions
        self.turn = 0

    def next(self):
        """The partition whose turn it is, and the offset that the next message there will get."""
        self.turn = (self.turn + 1) % len(self.acknowledged)
        return self.turn, len(self.expected.letters[self.turn])

    def grow(self, partitions):
        """Goes on with more partitions."""
        for _ in range(partitions - len(self.acknowledged)):
            self.expected.letters.append([])
            self.acknowledged.append(0)


class Sender:
    """An idempotent producer that notes what the broker has acknowledged."""

    def __init__(self, brokers):
        self.failures = []
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": brokers,
            "enable.idempotence": True,
            "acks": "all",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "linger.ms": 20,
            # The broker will be away, and never for so long.
            "message.timeout.ms": 300_000,
            "topic.metadata.refresh.interval.ms": 1000,
            "log_level": 2,
        })

    def send(self, topic, partition, offset, key, payload):
        """Queues a message; waits while the queue is full or the partition is not known yet."""
        def delivered(error, message):
            if error is not None:
                self.failures.append(f"{topic.name}/{partition}/{offset}: {error.code()}")
            elif message.offset() != offset:
                self.failures.append(f"{topic.name}/{partition}/{offset}: got the offset {message.offset()}")
            else:
                topic.acknowledged[partition] += 1

        deadline = time.monotonic() + 120
        while True:
            try:
                self.producer.produce(topic.name, payload, key, partition, on_delivery=delivered)
                return
            except BufferError:
                self.producer.poll(0.05)
            except confluent_kafka.KafkaException as error:
                unknown = error.args[0].code() == confluent_kafka.KafkaError._UNKNOWN_PARTITION  # noqa: SLF001
                if not unknown or time.monotonic() > deadline:
                    raise
                self.producer.poll(0.2)


def commands():
    """The lines of standard input, read beside."""
    lines = queue.Queue()

    def read():
        for line in sys.stdin:
            lines.put(line.split())
        # Nobody is there any more.
        lines.put(["stop"])

    threading.Thread(target=read, daemon=True).start()
    return lines


def write(path, topics, policies):
    """Writes the expectations; one legend serves all topics."""
    legend = topics[0].expected.legend
    path.write_text(json.dumps({
        "legend": {letter: sorted(set(places)) for places, letter in legend.items()},
        "policies": {
            version: {letter: [places[number]] for places, letter in legend.items()}
            for number, version in enumerate(policies)
        },
        "topics": {
            topic.name: {str(number): "".join(letters) for number, letters in enumerate(topic.expected.letters)}
            for topic in topics
        },
        "payloads": [payload for topic in topics for payload in topic.expected.payloads],
        "serials": {
            "cnc_state": {"column": "part_count", "stride": STRIDE, "rows": 1},
            "cnc_waveform": {"column": "first_counter", "stride": STRIDE, "rows": SIGNALS},
        },
        "acknowledged": {topic.name: topic.acknowledged for topic in topics},
    }))


def main():
    """Sends until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="messages per second")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--policy", action="append", required=True, metavar="VERSION=FILE", help="in force or to be")
    parser.add_argument("--expectations", type=pathlib.Path, required=True)
    arguments = parser.parse_args()

    policies = dict(policy.split("=", 1) for policy in arguments.policy)
    placer = Placer([pathlib.Path(path) for path in policies.values()])
    devices = list(placer.zones[0].values())
    legend = {}
    topics = {name: Topic(name, arguments.partitions, legend) for name in (STATE, WAVEFORM)}
    makers = {STATE: States(arguments.seed, devices, placer), WAVEFORM: Waveforms(arguments.seed, devices, placer)}
    sender = Sender(arguments.brokers)
    orders = commands()
    index, started, told = 0, time.monotonic(), 0.0
    while True:
        for _ in range(50):
            topic = topics[WAVEFORM if index % WAVEFORM_EVERY == 0 else STATE]
            partition, offset = topic.next()
            key, payload, places = makers[topic.name].message(index, partition, offset)
            topic.expected.add(partition, places, payload)
            sender.send(topic, partition, offset, key, payload)
            index += 1
        sender.producer.poll(0)
        ahead = started + index / arguments.rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        elif ahead < -1:
            # The broker was away: the rate holds from here on, and nothing is made up for.
            started -= ahead
        if time.monotonic() - told > 1:
            told = time.monotonic()
            print(json.dumps({"sent": index, "acknowledged": sum(sum(t.acknowledged) for t in topics.values())}),
                  flush=True)
        try:
            order = orders.get_nowait()
        except queue.Empty:
            continue
        if order[0] == "stop":
            break
        if order[0] == "grow":
            topics[order[1]].grow(int(order[2]))
    # Whatever comes of it, what was expected is there to be looked at.
    write(arguments.expectations, list(topics.values()), policies)
    left = sender.producer.flush(240)
    write(arguments.expectations, list(topics.values()), policies)
    if left or sender.failures:
        sys.exit(f"chaos_produce: {left} messages not delivered, {len(sender.failures)} failures, "
                 f"the first: {(sender.failures or ['none'])[0]}")


if __name__ == "__main__":
    main()
