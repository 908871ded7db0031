"""The settings of every rival in Python, and the columns of the messages."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

BOOTSTRAP = os.environ["BOOTSTRAP"]
TOPIC = os.environ["TOPIC"]
PARTITIONS = int(os.environ["PARTITIONS"])
MESSAGES = int(os.environ["MESSAGES"])
OUT = pathlib.Path(os.environ["OUT"])
# The level of Situs.
ZSTD_LEVEL = 1
SECONDS_TO_STOP = 120
# A name that no earlier run used.
GROUP = f"rival-{os.getpid()}-{os.urandom(4).hex()}"

SCHEMA = pathlib.Path(__file__).resolve().parents[3] / "schemas/cnc.state/v1.json"
KINDS = {"dictionary": "text", "utf8": "text", "list<utf8>": "texts", "list<float64>": "floats"}


def columns():
    """The fields of the messages with their kinds: text, time, int64, float64, texts, floats."""
    found = {}
    for name, field in json.loads(SCHEMA.read_text())["properties"].items():
        notes = field.get("x-situs", {})
        kind = "time" if "time" in notes else notes.get("arrow", "text")
        found[name] = KINDS.get(kind, kind)
    return found


@contextlib.contextmanager
def running(command):
    """A tool as a child process, which ends with the block, and when this process is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tool = subprocess.Popen([str(word) for word in command])
    try:
        yield tool
    finally:
        tool.terminate()
        try:
            tool.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            tool.kill()
            tool.wait()
            raise


def finish(rows):
    """Ends the process: all is written, what is left would only give back memory."""
    print(f"rows={rows}")
    sys.stdout.flush()
    os._exit(0 if rows == MESSAGES else 1)
