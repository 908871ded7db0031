"""confluent-kafka reads, pyarrow parses, delta-rs writes a Delta table."""

import pyarrow
import pyarrow.json
from deltalake import WriterProperties, write_deltalake

import common
import consumer

TYPES = {
    "text": pyarrow.string(),
    "time": pyarrow.timestamp("us", "UTC"),
    "int64": pyarrow.int64(),
    "float64": pyarrow.float64(),
    "texts": pyarrow.list_(pyarrow.string()),
    "floats": pyarrow.list_(pyarrow.float64()),
}
SCHEMA = pyarrow.schema([(name, TYPES[kind]) for name, kind in common.columns().items()])
PARSE = pyarrow.json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore")
READ = pyarrow.json.ReadOptions(use_threads=True, block_size=8 << 20)
WRITER = WriterProperties(compression="ZSTD", compression_level=common.ZSTD_LEVEL)


def parse(block):
    return pyarrow.json.read_json(pyarrow.py_buffer(block), read_options=READ, parse_options=PARSE)


def write(table):
    write_deltalake(common.OUT, table, mode="append", writer_properties=WRITER)
    return table.num_rows


consumer.run(200_000, parse, write)
