#!/usr/bin/env python3
"""What a broker can do to a topic while nobody looks: holes, deletions, more partitions.

  surprises.py transactions …   messages in transactions, of which some are aborted: offsets with holes
  surprises.py grow …           half of the messages, then more partitions, then the other half
  surprises.py truncate …       deletes the records below an offset, as retention does
  surprises.py keyed …          fills a topic that may be compacted, and is not yet
  surprises.py compact …        as many messages of the same keys again; then the broker compacts them

Each writes (or corrects) the expectations that verify.py reads; `nowhere` is the place of an offset
that holds no message for anybody.
"""

import argparse
import json
import pathlib
import random
import sys
import time

import confluent_kafka
import confluent_kafka.admin
import deltalake

import registry
from produce import ROOT, Expectations, Generator, Sender, create_topic
from verify import columns_of

NOWHERE = ("nowhere",)


def good_messages(arguments):
    """Endless messages that must be stored: key, payload, place."""
    devices = registry.devices(ROOT / "pipelines" / "policy.yaml", arguments.topic)
    generator = Generator(arguments.seed, devices)
    index = 0
    while True:
        device = devices[generator.random.randrange(len(devices))]
        yield device.id, generator.good(index, device.id, None)[0].encode(), (f"zone:{device.zone}",)
        index += 1


def transactions(arguments):
    """Fills a topic of one partition; a third of the transactions are aborted."""
    create_topic(arguments.brokers, arguments.topic, 1)
    expectations = Expectations(arguments.topic, 1)
    chance = random.Random(arguments.seed)
    messages = good_messages(arguments)
    producer = confluent_kafka.Producer({
        "bootstrap.servers": arguments.brokers, "transactional.id": "surprises", "linger.ms": 5,
    })
    producer.init_transactions(30)
    left = arguments.count
    while left > 0:
        size = min(left, chance.randrange(1, 60))
        left -= size
        # The last one is committed, or nobody could tell where the messages end.
        aborted = left > 0 and chance.random() < 1 / 3
        producer.begin_transaction()
        for _ in range(size):
            key, payload, places = next(messages)
            expectations.add(0, NOWHERE if aborted else places, payload)
            producer.produce(arguments.topic, payload, key, 0)
        # Otherwise what is aborted might never have been sent.
        if producer.flush(30):
            sys.exit("surprises: a transaction's messages were not delivered")
        if aborted:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
        if left > 0:
            # The marker that ends a transaction takes an offset.
            expectations.add(0, NOWHERE, None)
    expectations.write(arguments.expectations)
    print(json.dumps(expectations.summary()))


def grow(arguments):
    """Fills a topic that gets more partitions half-way."""
    create_topic(arguments.brokers, arguments.topic, arguments.partitions)
    expectations = Expectations(arguments.topic, 2 * arguments.partitions)
    messages = good_messages(arguments)
    sender = Sender(arguments.brokers, arguments.topic)
    partitions = arguments.partitions
    for index in range(arguments.count):
        if index == arguments.count // 2:
            sender.producer.flush(30)
            partitions *= 2
            more = confluent_kafka.admin.NewPartitions(arguments.topic, partitions)
            admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": arguments.brokers})
            admin.create_partitions([more])[arguments.topic].result(10)
            time.sleep(arguments.pause)
            # A client that has metadata from before would not know the new partitions.
            sender = Sender(arguments.brokers, arguments.topic)
        key, payload, places = next(messages)
        partition = index % partitions
        sender.send(partition, expectations.add(partition, places, payload), key, payload)
    sender.finish()
    expectations.write(arguments.expectations)
    print(json.dumps(expectations.summary()))


# Segments of a mebibyte, which are compacted as soon as there is anything to compact in them.
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": str(1 << 20),
    "min.cleanable.dirty.ratio": "0.001",
}
# Of which the first part is older than the last of its keys nearly everywhere.
KEYS = 400


def keyed_messages(arguments, sender, rounds):
    """Sends the last of so many rounds; the messages of those before are made again."""
    expectations = Expectations(arguments.topic, 1)
    chance = random.Random(arguments.seed)
    messages = good_messages(arguments)
    for index in range(rounds * arguments.count):
        _, payload, places = next(messages)
        offset = expectations.add(0, places, payload)
        key = f"key-{chance.randrange(KEYS)}"
        if index >= (rounds - 1) * arguments.count:
            sender.send(0, offset, key, payload)
    sender.finish()
    return expectations


def keyed(arguments):
    """Fills a topic of one partition. It is not compacted before it is told to be."""
    create_topic(arguments.brokers, arguments.topic, 1, COMPACTED | {"cleanup.policy": "delete", "retention.ms": "-1"})
    expectations = keyed_messages(arguments, Sender(arguments.brokers, arguments.topic), 1)
    expectations.write(arguments.expectations)
    print(json.dumps(expectations.summary()))


def offsets_left(arguments):
    """The offsets of the messages that a topic of one partition has."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": arguments.brokers, "group.id": "surprises", "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "earliest",
    })
    consumer.assign([confluent_kafka.TopicPartition(arguments.topic, 0, 0)])
    found = []
    while True:
        message = consumer.poll(30)
        if message is None:
            sys.exit("surprises: the broker does not give the messages")
        if message.error() is None:
            found.append(message.offset())
        elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
            consumer.close()
            return found
        else:
            sys.exit(f"surprises: {message.error().code()}")


def set_topic(arguments, settings):
    """Changes settings of the topic."""
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": arguments.brokers})
    entries = [
        confluent_kafka.admin.ConfigEntry(
            name, value, incremental_operation=confluent_kafka.admin.AlterConfigOpType.SET
        )
        for name, value in settings.items()
    ]
    resource = confluent_kafka.admin.ConfigResource(
        confluent_kafka.admin.ResourceType.TOPIC, arguments.topic, incremental_configs=entries
    )
    admin.incremental_alter_configs([resource])[resource].result(10)


def compact(arguments):
    """Sends the second round, and lets the broker compact what it has, until no more goes.

    What was settled before is in the tables whatever the broker has left of it; of the second round each
    message that is left must be there once, and no other.
    """
    expectations = keyed_messages(arguments, Sender(arguments.brokers, arguments.topic), 2)
    count = 2 * arguments.count
    set_topic(arguments, {"cleanup.policy": "compact"})
    left, since = offsets_left(arguments), time.monotonic()
    deadline = since + 120
    while len(left) > count * 3 // 4 or time.monotonic() < since + 5:
        if time.monotonic() > deadline:
            sys.exit(f"surprises: {len(left)} of {count} messages are left, and the broker compacts no more")
        time.sleep(0.5)
        now = offsets_left(arguments)
        if now != left:
            left, since = now, time.monotonic()
    # From here on nothing changes any more.
    set_topic(arguments, {"cleanup.policy": "delete"})
    left = offsets_left(arguments)
    second = {offset for offset in left if offset >= arguments.count}
    holes = [offset for offset in range(arguments.count, count) if offset not in second]
    if len(holes) < arguments.count // 4 or holes[0] != arguments.count:
        sys.exit(f"surprises: {len(holes)} messages of the second round were compacted away, the first at {holes[:1]}")
    expectations.write(arguments.expectations)
    text = json.loads(arguments.expectations.read_text())
    letters = list(text["topics"][arguments.topic]["0"])
    for hole in holes:
        letters[hole] = "-"
    text["legend"]["-"] = list(NOWHERE)
    text["topics"][arguments.topic]["0"] = "".join(letters)
    # Each message counts parts as far as its own number.
    text["serials"] = {"cnc_state": {"column": "part_count", "stride": 0, "rows": 1}}
    arguments.expectations.write_text(json.dumps(text))
    print(json.dumps({"messages": count, "left": len(left), "holes": len(holes)}))


def truncate(arguments):
    """Deletes the records of partition 0 below an offset. What was not settled of them is lost."""
    receipts = deltalake.DeltaTable(str(arguments.receipts))
    settled = max(end for (end,) in columns_of(receipts, ["end_offset"]))
    if settled >= arguments.below:
        sys.exit(f"surprises: {settled} offsets are settled, so nothing would be lost below {arguments.below}")
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": arguments.brokers})
    place = confluent_kafka.TopicPartition(arguments.topic, 0, arguments.below)
    admin.delete_records([place])[place].result(10)
    text = json.loads(arguments.expectations.read_text())
    lost = range(settled, arguments.below)
    letters = text["topics"][arguments.topic]["0"]
    text["legend"]["-"] = list(NOWHERE)
    text["topics"][arguments.topic]["0"] = letters[:settled] + "-" * len(lost) + letters[arguments.below:]
    text["payloads"] = [entry for entry in text["payloads"] if entry[2] not in lost]
    # They were sums of what was sent.
    text["sums"] = {}
    arguments.expectations.write_text(json.dumps(text))
    print(json.dumps({"settled": settled, "lost": len(lost)}))


def main():
    """Does what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["transactions", "grow", "truncate", "keyed", "compact"])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", default="cnc.state")
    parser.add_argument("--expectations", type=pathlib.Path, metavar="FILE", required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--partitions", type=int, default=2, help="before it grows")
    parser.add_argument("--pause", type=float, default=3, help="seconds between growing and sending")
    parser.add_argument("--below", type=int, help="the offset below which records are deleted")
    parser.add_argument("--receipts", type=pathlib.Path, help="the receipts table, which says what is settled")
    arguments = parser.parse_args()
    doing = {"transactions": transactions, "grow": grow, "truncate": truncate, "keyed": keyed, "compact": compact}
    doing[arguments.what](arguments)


if __name__ == "__main__":
    main()
