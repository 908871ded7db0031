#!/usr/bin/env python3
"""What a broker can do to a topic while nobody looks: holes, deletions, more partitions.

  surprises.py transactions …   messages in transactions, of which some are aborted: offsets with holes
  surprises.py grow …           half of the messages, then more partitions, then the other half
  surprises.py truncate …       deletes the records below an offset, as retention does

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
    parser.add_argument("what", choices=["transactions", "grow", "truncate"])
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
    {"transactions": transactions, "grow": grow, "truncate": truncate}[arguments.what](arguments)


if __name__ == "__main__":
    main()
