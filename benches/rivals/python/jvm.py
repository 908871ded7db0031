"""How the rivals in Java are started."""

import os
import pathlib

HEAP = "2g"


def command(rival, *arguments):
    """A class with its arguments, on what `java_environment` prepared for the rival."""
    prepared = pathlib.Path(os.environ["CACHE"]) / f"{rival}-java"
    # The parallel collector takes less time in all than the default one, which aims at short pauses.
    return [
        "java", f"-Xmx{HEAP}", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
        "-cp", f"{prepared}/classes:{prepared}/libs/*", *arguments,
    ]
