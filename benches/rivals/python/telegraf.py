"""Telegraf reads, parses, and writes one Parquet file; Python only starts, watches and stops it."""

import json
import os
import tempfile

import common
import watched

TEXTS = [name for name, kind in common.columns().items() if kind == "text"]
# Of its parsers `json` is the fastest: `json_v2` and the XPath one look up each field anew.
# It makes every number a float.
CONFIGURATION = f"""
[agent]
  omit_hostname = true
  flush_interval = "1s"
  metric_batch_size = 20000
  metric_buffer_limit = 400000
[[inputs.kafka_consumer]]
  brokers = [{json.dumps(common.BOOTSTRAP)}]
  topics = [{json.dumps(common.TOPIC)}]
  consumer_group = {json.dumps(common.GROUP)}
  offset = "oldest"
  kafka_version = "3.6.0"
  # More than a few batches, so that parsing goes on while a batch is written.
  max_undelivered_messages = 200000
  max_processing_time = "10s"
  consumer_fetch_default = "4MB"
  name_override = "state"
  data_format = "json"
  json_strict = true
  json_time_key = "timestamp"
  json_time_format = "2006-01-02T15:04:05Z07:00"
  json_string_fields = {json.dumps(TEXTS)}
[[outputs.parquet]]
  directory = {json.dumps(str(common.OUT))}
"""

# The collector runs half as often as by default, for about twice the memory.
os.environ["GOGC"] = "200"
with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
    file.write(CONFIGURATION)
    file.flush()
    watched.run([os.environ["TELEGRAF"], "--config", file.name, "--quiet", "--strict-env-handling"])
