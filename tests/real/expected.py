#!/usr/bin/env python3
"""What the tables must hold after Situs has read the real recordings, computed without Situs.

    expected.py DATA_FOLDER > expected.json

Knows nothing of Situs's code and schemas: it reads the files with Python's `json` and follows docs/schemas.md and
docs/pipelines.md by hand. For every table it prints the number of messages, of messages without rows by kind, of rows,
and per column the figures of `summary` below. The topics are assumed to have one partition and to hold each file once.
"""

import calendar
import json
import math
import re
import sys
import time

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


def nanoseconds(text):
    """Nanoseconds since the epoch of an RFC 3339 time in UTC, exactly."""
    day, clock, fraction = TIME.fullmatch(text).groups()
    seconds = calendar.timegm(time.strptime(day + clock, "%Y-%m-%d%H:%M:%S"))
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def lines(path):
    with open(path, encoding="utf-8-sig") as file:
        return [json.loads(line) for line in file if line.strip()]


def summary(values):
    """The figures of a column: `values` has None, a number, a text or a list of numbers per row."""
    given = [value for value in values if value is not None]
    figures = {"nulls": len(values) - len(given), "count": len(given)}
    if any(isinstance(value, str) for value in given):
        figures["distinct"] = len(set(given))
        return figures
    if any(isinstance(value, list) for value in given):
        given = [number for value in given for number in value]
        figures["elements"] = len(given)
    if given:
        whole = all(isinstance(number, int) for number in given)
        figures |= {"sum": sum(given) if whole else math.fsum(given), "min": min(given), "max": max(given)}
    return figures


class Table:
    def __init__(self, columns):
        self.columns = columns
        self.rows = []
        self.quality = {}
        self.messages = 0
        self.without_rows = {}

    def row(self, row, missing):
        """Adds a row; `missing` are the quality codes, `column:code`."""
        unknown = set(row) - set(self.columns)
        assert not unknown, unknown
        self.rows.append(row)
        for code in missing:
            self.quality[code] = self.quality.get(code, 0) + 1

    def without(self, kind):
        self.without_rows[kind] = self.without_rows.get(kind, 0) + 1

    def figures(self):
        columns = {name: summary([row.get(name) for row in self.rows]) for name in self.columns}
        return {
            "messages": self.messages,
            "without_rows": dict(sorted(self.without_rows.items())),
            "rows": len(self.rows),
            "quality": dict(sorted(self.quality.items())),
            "columns": columns,
        }


def put_text(row, missing, column, source, key):
    """A text column: absent is null, and what means "no value" is null with a code."""
    if key not in source:
        return
    codes = {None: "null", "": "empty", "UNAVAILABLE": "unavailable"}
    value = source[key]
    if value in codes:
        missing.append(f"{column}:{codes[value]}")
    else:
        assert isinstance(value, str), value
        row[column] = value


def put_value(row, missing, source, key, numeric_strings):
    """A value: numbers in `value`, lists of numbers in `value_list`, all else in `value_text`."""
    if key not in source:
        return
    value = source[key]
    codes = {"": "empty", "UNAVAILABLE": "unavailable"}
    if numeric_strings:
        codes |= {"NaN": "nan", "Infinity": "infinite", "-Infinity": "infinite", "INF": "infinite", "-INF": "infinite"}
    if value is None:
        missing.append("value_text:null")
    elif isinstance(value, bool):
        row["value"], row["value_text"] = float(value), json.dumps(value)
    elif isinstance(value, (int, float)):
        assert value == float(value), "no number of these files is beyond a double"
        row["value"] = float(value)
    elif isinstance(value, str):
        if value in codes:
            missing.append(f"value_text:{codes[value]}")
        elif numeric_strings and NUMBER.fullmatch(value):
            row["value"] = float(value)
        else:
            row["value_text"] = value
    elif isinstance(value, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
        row["value_list"] = [float(v) for v in value]
    else:
        row["value_text"] = json.dumps(value)


def put_time(row, text):
    row["_event_time_ns"] = nanoseconds(text)
    row["event_time"] = row["_event_time_ns"] // 1000


# Events whose type counts or measures, so that their text is a number.
COUNTING = """ACTIVATION_COUNT AXIS_FEEDRATE_OVERRIDE BLOCK_COUNT CYCLE_COUNT DEACTIVATION_COUNT HARDNESS LINE_NUMBER
LOAD_COUNT MATERIAL_LAYER PART_COUNT PATH_FEEDRATE_OVERRIDE ROTARY_VELOCITY_OVERRIDE TRANSFER_COUNT
UNLOAD_COUNT""".split()


def cnc_observation(path):
    texts = {
        "dataItemId": "data_item_id",
        "name": "name",
        "type": "type",
        "subType": "sub_type",
        "category": "category",
        "level": "level",
    }
    table = Table([*texts.values(), "value", "value_text", "value_list", "sequence", "event_time", "_event_time_ns"])
    for message in lines(path):
        table.messages += 1
        assert set(message) <= {*texts, "result", "sequence", "timestamp"}, set(message)
        row, missing = {"sequence": message["sequence"]}, []
        for key, column in texts.items():
            put_text(row, missing, column, message, key)
        numeric = message["category"] == "SAMPLE" or message["type"] in COUNTING
        put_value(row, missing, message, "result", numeric)
        put_time(row, message["timestamp"])
        table.row(row, missing)
    return table.figures()


def cnc_waveform(path):
    table = Table(
        ["signal_index", "first_counter", "sample_count", "sample_period_ns", "gap_before", "samples"],
    )
    kinds = {
        "HFTimestamp": "hf-timestamp",
        "HFBlockEvent": "hf-block-event",
        "HFCallEvent": "hf-call-event",
        "LFData": "lf-data",
    }
    following = None
    for message in lines(path):
        table.messages += 1
        (kind, block), = message.items()
        if kind != "HFData":
            table.without(kinds[kind])
            continue
        pieces = []
        for cycle in block:
            if not pieces or cycle[0] != pieces[-1][-1][0] + 1:
                pieces.append([])
            pieces[-1].append(cycle)
        for piece in pieces:
            first = piece[0][0]
            gap = None if following is None else first - following
            following = piece[-1][0] + 1
            for index in range(1, len(piece[0])):
                row = {
                    "signal_index": index - 1,
                    "first_counter": first,
                    "sample_count": len(piece),
                    "sample_period_ns": 2_000_000,
                    "samples": [float(cycle[index]) for cycle in piece],
                }
                if gap is not None:
                    row["gap_before"] = gap
                # The events carry no time, so the broker's is used.
                table.row(row, ["event_time:broker"])
    return table.figures()


def data_value(row, missing, value):
    """A data value, a variant or a raw value."""
    parts = {"Value", "StatusCode", "SourceTimestamp", "ServerTimestamp", "Type", "Body"}
    if not (isinstance(value, dict) and parts & set(value)):
        put_value(row, missing, {"v": value}, "v", False)
        return None
    status = value.get("StatusCode", {})
    if "Code" in status:
        row["status_code"] = float(status["Code"])
    put_text(row, missing, "status_symbol", status, "Symbol")
    put_text(row, missing, "data_type", value, "Type")
    put_value(row, missing, value, "Body", value.get("Type") in ("Int64", "UInt64"))
    put_value(row, missing, value, "Value", False)
    for key, column in (("SourceTimestamp", "source_timestamp"), ("ServerTimestamp", "server_timestamp")):
        if key in value:
            row[column] = nanoseconds(value[key]) // 1000
    return value.get("SourceTimestamp", value.get("ServerTimestamp"))


def opcua_pubsub(path):
    table = Table(
        """message_id publisher_id writer_group data_set_writer_id data_set_writer_name sequence_number metadata_major
        metadata_minor message_type field node_id endpoint_url application_uri display_name data_type value value_text
        value_list status_code status_symbol source_timestamp server_timestamp event_time _event_time_ns""".split()
    )

    def finish(row, missing, stamp):
        if stamp is None:
            missing.append("event_time:broker")
        else:
            put_time(row, stamp)
        table.row(row, missing)

    def network_message(message):
        for data_set in message["Messages"]:
            for field, value in data_set.get("Payload", {}).items():
                row, missing = {"field": field}, []
                put_text(row, missing, "message_id", message, "MessageId")
                put_text(row, missing, "publisher_id", message, "PublisherId")
                put_text(row, missing, "writer_group", message, "DataSetWriterGroup")
                if "DataSetWriterId" in data_set:
                    row["data_set_writer_id"] = str(data_set["DataSetWriterId"])
                put_text(row, missing, "data_set_writer_name", data_set, "DataSetWriterName")
                put_text(row, missing, "message_type", data_set, "MessageType")
                row["sequence_number"] = data_set.get("SequenceNumber")
                row["metadata_major"] = data_set.get("MetaDataVersion", {}).get("MajorVersion")
                row["metadata_minor"] = data_set.get("MetaDataVersion", {}).get("MinorVersion")
                stamp = data_value(row, missing, value) or data_set.get("Timestamp")
                finish(row, missing, stamp)

    def sample(message):
        row, missing = {"sequence_number": message.get("SequenceNumber")}, []
        texts = {
            "NodeId": "node_id",
            "EndpointUrl": "endpoint_url",
            "ApplicationUri": "application_uri",
            "DisplayName": "display_name",
        }
        for key, column in texts.items():
            put_text(row, missing, column, message, key)
        extension = message.get("ExtensionFields", {})
        put_text(row, missing, "publisher_id", extension, "PublisherId")
        put_text(row, missing, "data_set_writer_id", extension, "DataSetWriterId")
        stamp = data_value(row, missing, message["Value"]) or message.get("Timestamp")
        finish(row, missing, stamp)

    for top in lines(path):
        table.messages += 1
        before = len(table.rows)
        for message in top if isinstance(top, list) else [top]:
            if message.get("MessageType") == "ua-metadata":
                table.without("metadata")
            elif "Messages" in message:
                network_message(message)
                if len(table.rows) == before:
                    table.without("no-entries")
            else:
                sample(message)
    return table.figures()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    data = sys.argv[1]
    expected = {
        "cnc_observation": cnc_observation(f"{data}/mtconnect/okuma_entity.ndjson"),
        "cnc_waveform": cnc_waveform(f"{data}/sinumerik/payload_events.ndjson"),
        "opcua_pubsub": opcua_pubsub(f"{data}/opcua/pubsub_messages.ndjson"),
    }
    json.dump(expected, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
