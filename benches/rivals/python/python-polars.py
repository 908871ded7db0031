"""confluent-kafka reads, Polars parses, delta-rs writes a Delta table."""

import polars
from deltalake import WriterProperties

import common
import consumer

TYPES = {
    "text": polars.String,
    # Reading texts and then times of a given format takes a fifth of what reading times does.
    "time": polars.String,
    "int64": polars.Int64,
    "float64": polars.Float64,
    "texts": polars.List(polars.String),
    "floats": polars.List(polars.Float64),
}
SCHEMA = {name: TYPES[kind] for name, kind in common.columns().items()}
WRITER = WriterProperties(compression="ZSTD", compression_level=common.ZSTD_LEVEL)
TIMES = polars.col([name for name, kind in common.columns().items() if kind == "time"])
TIMES = TIMES.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", cache=False)


def parse(block):
    return polars.read_ndjson(block, schema=SCHEMA).with_columns(TIMES)


def write(frame):
    frame.write_delta(common.OUT, mode="append", delta_write_options={"writer_properties": WRITER})
    return frame.height


consumer.run(200_000, parse, write)
