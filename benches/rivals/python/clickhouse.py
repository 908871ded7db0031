"""How ClickHouse is told the columns, and to write Parquet files."""

import common

TYPES = {
    "text": "Nullable(String)",
    "time": "Nullable(DateTime64(6, 'UTC'))",
    "int64": "Nullable(Int64)",
    "float64": "Nullable(Float64)",
    # ClickHouse has no lists that may be null; a missing one becomes empty.
    "texts": "Array(Nullable(String))",
    "floats": "Array(Nullable(Float64))",
}


def structure(**other_types):
    """The columns with their types, some of them perhaps others than in the table."""
    types = TYPES | other_types
    return ", ".join(f"`{name}` {types[kind]}" for name, kind in common.columns().items())


def quote(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def store(path, source):
    """The statement that writes a source's rows into a new Parquet file."""
    return (
        f"INSERT INTO FUNCTION file({quote(str(path))}, Parquet, {quote(structure())}) SELECT * FROM {source}"
        f" SETTINGS output_format_parquet_compression_method = 'zstd',"
        f" output_format_compression_level = {common.ZSTD_LEVEL},"
        # No other rival writes Bloom filters.
        " output_format_parquet_write_bloom_filter = 0,"
        " date_time_input_format = 'best_effort',"
        # Reading from Kafka takes messages away, so ClickHouse asks for a word that this is meant.
        " stream_like_engine_allow_direct_select = 1"
    )
