"""The consumer and the pipeline of the rivals that read with confluent-kafka."""

import collections
import concurrent.futures

import confluent_kafka

import common

# Read from the topic at a time; with 50,000 it takes a third more processor time.
CHUNK = 2_000
# Batches that may be in work or wait behind the consumer; they bound the memory.
IN_FLIGHT = 3


def batches(size):
    """Reads the topic from its beginning to its end, in blocks of `size` messages, one a line."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": common.BOOTSTRAP,
        "group.id": common.GROUP,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Big answers, and a queue that outlasts a batch.
        "fetch.min.bytes": 1 << 20,
        "fetch.wait.max.ms": 50,
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 64 << 10,
        # A second unless told otherwise: by then a fast reader has emptied the queue that was full.
        "fetch.queue.backoff.ms": 20,
        "enable.metrics.push": False,
    })
    consumer.assign([
        confluent_kafka.TopicPartition(common.TOPIC, partition, confluent_kafka.OFFSET_BEGINNING)
        for partition in range(common.PARTITIONS)
    ])
    read = 0
    while read < common.MESSAGES:
        wanted = min(size, common.MESSAGES - read)
        chunks, held = [], 0
        while held < wanted:
            messages = consumer.consume(min(CHUNK, wanted - held), timeout=0.2)
            for message in messages:
                if message.error() is not None:
                    raise confluent_kafka.KafkaException(message.error())
            if messages:
                chunks.append(b"\n".join([message.value() for message in messages]))
                held += len(messages)
        read += held
        yield b"\n".join(chunks)
    consumer.close()


def run(size, *stages):
    """Carries blocks through stages, each in a thread of its own, and ends with the rows that the last gave.

    The stages release the interpreter's lock while they work, so they run beside the consumer.
    """
    threads = [concurrent.futures.ThreadPoolExecutor(1) for _ in stages]
    flight = collections.deque()
    rows = 0
    for block in batches(size):
        future = threads[0].submit(stages[0], block)
        for stage, thread in zip(stages[1:], threads[1:], strict=True):
            future = thread.submit(lambda stage, before: stage(before.result()), stage, future)
        flight.append(future)
        if len(flight) >= IN_FLIGHT:
            rows += flight.popleft().result()
    rows += sum(future.result() for future in flight)
    common.finish(rows)
