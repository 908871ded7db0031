"""Bento reads, parses, and writes Parquet files; Python only starts, watches and stops it."""

import json
import os
import tempfile

import common
import watched

# It knows no times in Parquet files, so they are numbers of microseconds.
TYPES = {"text": "UTF8", "time": "INT64", "int64": "INT64", "float64": "DOUBLE", "texts": "UTF8", "floats": "DOUBLE"}


def column(name, kind):
    if kind in ("texts", "floats"):
        return {"name": name, "type": "LIST", "optional": True, "fields": [{"name": "element", "type": TYPES[kind]}]}
    return {"name": name, "type": TYPES[kind], "optional": True}


COLUMNS = common.columns()
TIMES = [name for name, kind in COLUMNS.items() if kind == "time"]
CONFIGURATION = {
    "http": {"enabled": False},
    "logger": {"level": "WARN"},
    "input": {
        "kafka_franz": {
            "seed_brokers": [common.BOOTSTRAP],
            "topics": [common.TOPIC],
            "consumer_group": common.GROUP,
            "start_from_oldest": True,
            "commit_period": "500ms",
            "fetch_max_wait": "50ms",
            # Batches are per partition, and several of one may be in work.
            "batching": {"count": 25_000, "period": "1s"},
            "checkpoint_limit": 50_000,
        },
    },
    "pipeline": {
        "threads": os.cpu_count(),
        "processors": [
            {"mapping": "root = this\n" + "\n".join(f"root.{name} = this.{name}.ts_unix_micro()" for name in TIMES)},
            {"parquet_encode": {
                "schema": [column(name, kind) for name, kind in COLUMNS.items()],
                "default_compression": "zstd",
            }},
        ],
    },
    "output": {
        "file": {"path": str(common.OUT / '${! count("file") }.parquet'), "codec": "all-bytes"},
    },
}

# The collector runs half as often as by default, for about twice the memory.
os.environ["GOGC"] = "200"
# JSON is YAML.
with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
    json.dump(CONFIGURATION, file)
    file.flush()
    watched.run([os.environ["BENTO"], "-c", file.name])
