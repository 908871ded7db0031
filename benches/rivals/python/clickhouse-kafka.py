"""ClickHouse inside Python reads by its own Kafka engine, parses, and writes a Parquet file per batch.

Python only starts the statements; no message passes through it.
"""

import itertools
import os
import tempfile

import chdb.session

import clickhouse
import common

BATCH = 200_000
# As for the other rivals; see consumer.py.
CONFIGURATION = """<clickhouse><kafka>
<auto_offset_reset>earliest</auto_offset_reset>
<fetch_min_bytes>1048576</fetch_min_bytes>
<fetch_wait_max_ms>50</fetch_wait_max_ms>
<queued_min_messages>100000</queued_min_messages>
<queued_max_messages_kbytes>65536</queued_max_messages_kbytes>
<fetch_queue_backoff_ms>20</fetch_queue_backoff_ms>
</kafka></clickhouse>
"""
# The engine's own JSON formats start anew for each message, which takes five times as long as
# a function that parses a column of texts.
FIELDS = ", ".join(
    (f"parseDateTime64BestEffortOrNull(parsed.{name}, 6, 'UTC')" if kind == "time" else f"parsed.{name}") + f" AS {name}"
    for name, kind in common.columns().items()
)
TUPLE = clickhouse.quote(f"Tuple({clickhouse.structure(time='Nullable(String)')})")
SOURCE = f"(SELECT {FIELDS} FROM (SELECT JSONExtract(raw, {TUPLE}) AS parsed FROM input.topic))"

with tempfile.TemporaryDirectory() as folder:
    with open(f"{folder}/kafka.xml", "w") as file:
        file.write(CONFIGURATION)
    session = chdb.session.Session(f"{folder}/data?config-file={folder}/kafka.xml")
    session.query("CREATE DATABASE input")
    session.query(
        "CREATE TABLE input.topic (raw String) ENGINE = Kafka SETTINGS"
        f" kafka_broker_list = '{common.BOOTSTRAP}', kafka_topic_list = '{common.TOPIC}',"
        f" kafka_group_name = '{common.GROUP}', kafka_format = 'RawBLOB',"
        f" kafka_num_consumers = {min(os.cpu_count(), common.PARTITIONS)},"
        f" kafka_max_block_size = {BATCH}, kafka_poll_max_batch_size = {BATCH},"
        " kafka_poll_timeout_ms = 100, kafka_flush_interval_ms = 1000, kafka_commit_on_select = 1"
    )
    rows = 0
    for number in itertools.count():
        path = common.OUT / f"part-{number:05}.parquet"
        session.query(clickhouse.store(path, SOURCE))
        # A read that got nothing leaves no file.
        if path.exists():
            count = session.query(f"SELECT count() FROM file({clickhouse.quote(str(path))}, Parquet)", "TSV")
            rows += int(str(count))
        if rows >= common.MESSAGES:
            break
common.finish(rows)
