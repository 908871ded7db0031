"""Kafka Connect reads and Iceberg's sink writes a table of Parquet files; Python only starts, watches and stops it."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import confluent_kafka.admin

import common
import jvm

NAME = "kafka-connect-iceberg"
TABLE = "plant.state"
# Kafka Connect gives each task a thread. More of them than cores win nothing.
TASKS = min(os.cpu_count(), common.PARTITIONS)

WORKER = """
bootstrap.servers={bootstrap}
listeners=HTTP://127.0.0.1:0
offset.storage.file.filename={folder}/offsets
# Between polls that get nothing the sink sleeps this long, and does not hear that it shall commit.
offset.flush.interval.ms=1000
plugin.discovery=service_load
connector.client.config.override.policy=All
key.converter=org.apache.kafka.connect.converters.ByteArrayConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
"""

SINK = """
name={group}
connector.class=org.apache.iceberg.connect.IcebergSinkConnector
tasks.max={tasks}
topics={topic}
consumer.override.auto.offset.reset=earliest
consumer.override.max.poll.records=10000
consumer.override.fetch.min.bytes=1048576
consumer.override.fetch.max.wait.ms=50
consumer.override.max.partition.fetch.bytes=4194304
iceberg.tables={table}
iceberg.catalog.type=hadoop
iceberg.catalog.warehouse={warehouse}
iceberg.control.topic={control}
iceberg.control.commit.interval-ms=5000
iceberg.kafka.bootstrap.servers={bootstrap}
"""


def committed(metadata):
    """The rows in the table's current snapshot."""
    try:
        version = (metadata / "version-hint.text").read_text().strip()
        table = json.loads((metadata / f"v{version}.metadata.json").read_text())
    except FileNotFoundError:
        return 0
    current = [snap for snap in table["snapshots"] if snap["snapshot-id"] == table.get("current-snapshot-id")]
    return int(current[0]["summary"]["total-records"]) if current else 0


def main():
    control = f"control-{common.GROUP}"
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": common.BOOTSTRAP})
    for future in admin.create_topics([confluent_kafka.admin.NewTopic(control, 1, 1)]).values():
        future.result()
    columns = [f"{name}:{kind}" for name, kind in common.columns().items()]
    warehouse = common.OUT.resolve().as_uri()
    subprocess.run(jvm.command(NAME, "CreateTable", warehouse, TABLE, str(common.ZSTD_LEVEL), *columns), check=True)
    metadata = common.OUT / TABLE.replace(".", "/") / "metadata"
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, template in (("worker", WORKER), ("sink", SINK)):
            files.append(f"{folder}/{name}.properties")
            pathlib.Path(files[-1]).write_text(template.format(
                bootstrap=common.BOOTSTRAP, folder=folder, group=common.GROUP, tasks=TASKS, topic=common.TOPIC,
                table=TABLE, warehouse=warehouse, control=control,
            ))
        connect = jvm.command(NAME, "org.apache.kafka.connect.cli.ConnectStandalone", *files)
        with common.running(connect) as tool:
            while (rows := committed(metadata)) < common.MESSAGES:
                if tool.poll() is not None:
                    sys.exit("Kafka Connect ended too early")
                time.sleep(0.1)
    for future in admin.delete_topics([control]).values():
        future.result()
    common.finish(rows)


main()
