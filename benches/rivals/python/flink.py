"""Flink reads, parses, and writes Parquet files; Python only starts it and counts the rows."""

import os
import sys

import pyarrow.parquet

import common
import jvm

TYPES = {
    "text": "STRING",
    "time": "TIMESTAMP_LTZ(6)",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "texts": "ARRAY<STRING>",
    "floats": "ARRAY<DOUBLE>",
}
COLUMNS = ", ".join(f"`{name}` {TYPES[kind]}" for name, kind in common.columns().items())
SETTINGS = {
    "parallelism.default": min(os.cpu_count(), common.PARTITIONS),
    "table.local-time-zone": "UTC",
    # Rows are not copied between the steps of a task.
    "pipeline.object-reuse": "true",
    # Files are closed by checkpoints; they are what makes Flink exactly-once.
    "execution.checkpointing.interval": "5s",
}
SOURCE = {
    "connector": "kafka",
    "topic": common.TOPIC,
    "properties.bootstrap.servers": common.BOOTSTRAP,
    "properties.group.id": common.GROUP,
    "properties.fetch.min.bytes": 1 << 20,
    "properties.fetch.max.wait.ms": 50,
    "properties.max.poll.records": 10_000,
    "properties.max.partition.fetch.bytes": 4 << 20,
    "scan.startup.mode": "earliest-offset",
    # So it stops by itself.
    "scan.bounded.mode": "latest-offset",
    "format": "json",
    "json.timestamp-format.standard": "ISO-8601",
}
SINK = {
    "connector": "filesystem",
    "path": common.OUT.resolve().as_uri(),
    "format": "parquet",
    "parquet.compression": "ZSTD",
    "parquet.compression.codec.zstd.level": common.ZSTD_LEVEL,
    "parquet.utc-timezone": "true",
    # Otherwise times are written as INT96, which is obsolete.
    "parquet.write.int64.timestamp": "true",
    "parquet.timestamp.time.unit": "micros",
}


def create(table, options):
    options = ", ".join(f"'{name}' = '{value}'" for name, value in options.items())
    return f"CREATE TABLE {table} ({COLUMNS}) WITH ({options})"


JOB = jvm.command(
    "flink", "FlinkJob", *(f"{name}={value}" for name, value in SETTINGS.items()), "--",
    create("source", SOURCE), create("sink", SINK), "INSERT INTO sink SELECT * FROM source",
)
with common.running(JOB) as job:
    if job.wait() != 0:
        sys.exit("Flink failed")
common.finish(sum(pyarrow.parquet.read_metadata(file).num_rows for file in common.OUT.glob("part-*")))
