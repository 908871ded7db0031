"""confluent-kafka reads, DuckDB parses and writes a Parquet file per batch."""

import itertools
import os

import duckdb

import common
import consumer

TYPES = {
    "text": "VARCHAR",
    "time": "TIMESTAMPTZ",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "texts": "VARCHAR[]",
    "floats": "DOUBLE[]",
}
COLUMNS = ", ".join(f"'{name}': '{TYPES[kind]}'" for name, kind in common.columns().items())
# DuckDB reads files natively and in parallel, Python's file objects by calls into Python: so give it a file in memory.
BLOCK = os.memfd_create("block")
SOURCE = (
    f"read_json('/proc/self/fd/{BLOCK}', format='newline_delimited', columns={{{COLUMNS}}},"
    " timestampformat='%Y-%m-%dT%H:%M:%S.%fZ')"
)
NUMBERS = itertools.count()

connection = duckdb.connect()
connection.execute("SET preserve_insertion_order = false")
# Otherwise DuckDB remembers the size of a file that it has seen.
connection.execute("SET enable_external_file_cache = false")


def store(block):
    os.ftruncate(BLOCK, 0)
    os.pwrite(BLOCK, block, 0)
    path = common.OUT / f"part-{next(NUMBERS):05}.parquet"
    written = connection.execute(
        f"COPY (SELECT * FROM {SOURCE}) TO '{path}'"
        f" (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {common.ZSTD_LEVEL})"
    )
    return written.fetchone()[0]


consumer.run(200_000, store)
