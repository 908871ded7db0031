"""confluent-kafka reads, ClickHouse inside Python parses and writes a Parquet file per batch."""

import itertools
import os

import chdb.session

import clickhouse
import common
import consumer

# ClickHouse reads files natively and in parallel: so give it a file in memory.
BLOCK = os.memfd_create("block")
NUMBERS = itertools.count()

session = chdb.session.Session()


def store(block):
    os.ftruncate(BLOCK, 0)
    os.pwrite(BLOCK, block, 0)
    source = f"file('/proc/self/fd/{BLOCK}', JSONEachRow, {clickhouse.quote(clickhouse.structure())})"
    path = common.OUT / f"part-{next(NUMBERS):05}.parquet"
    session.query(clickhouse.store(path, source))
    return block.count(b"\n") + 1


consumer.run(200_000, store)
