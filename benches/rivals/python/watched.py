"""For tools that never stop by themselves: starts one, stops it once it has committed the whole topic."""

import sys
import time

import confluent_kafka
import pyarrow.parquet

import common


def committed(consumer, partitions):
    return sum(max(partition.offset, 0) for partition in consumer.committed(partitions, timeout=10))


def run(command):
    """Runs the tool, which commits as the group `common.GROUP` what it has handed to its output."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": common.BOOTSTRAP, "group.id": common.GROUP})
    partitions = [confluent_kafka.TopicPartition(common.TOPIC, partition) for partition in range(common.PARTITIONS)]
    with common.running(command) as tool:
        while committed(consumer, partitions) < common.MESSAGES:
            if tool.poll() is not None:
                sys.exit("the tool ended too early")
            time.sleep(0.1)
    consumer.close()
    common.finish(sum(pyarrow.parquet.read_metadata(file).num_rows for file in common.OUT.glob("*.parquet")))
