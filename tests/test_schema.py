"""A schema is a value; its text is canonical and closed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakota.errors import NotFoundError, RangeError, SchemaError
from lakota.schema import CODECS, Column, Schema

WEATHER = Schema(timestamp="timestamp*", station="str*", value="float")


def test_the_documented_forms_are_one_schema() -> None:
    text = """

    timestamp timestamp*
    value float

    """
    schema = Schema(timestamp="timestamp*", value="float")
    assert Schema(text) == schema == Schema({"timestamp": "timestamp*", "value": "float"})
    assert hash(Schema(text)) == hash(schema)
    assert schema.arrow == pa.schema({"timestamp": pa.timestamp("us"), "value": pa.float64()})


def test_index_columns_come_first_in_order_of_declaration() -> None:
    schema = Schema("x float\nb str*\ny int\na int*")
    assert schema.names == ("b", "a", "x", "y") == tuple(schema)
    assert (schema.index, schema.values, len(schema)) == (("b", "a"), ("x", "y"), 4)


@pytest.mark.parametrize(
    ("definition", "index", "codec"),
    [
        ("int", False, None),
        ("int*", True, None),
        ("int *", True, None),
        ("int | plain", False, "plain"),
        ("int* | zstd", True, "zstd"),
        ("int | zstd *", True, "zstd"),
        ("int|zstd*", True, "zstd"),
        ("int | pco", False, "pco"),
    ],
)
def test_star_and_codec_come_in_any_order(definition: str, index: bool, codec: str | None) -> None:
    column = Schema({"k": "int*", "x": definition})["x"]
    assert (column.index, column.codec) == (index, codec)


def test_names_are_anything_but_whitespace_in_text_and_types_may_have_spaces() -> None:
    schema = Schema("°C/m² timestamp[ns, UTC]*\n{a} struct<a: int, b: list<str>> | lz4")
    assert schema.names == ("°C/m²", "{a}")
    assert schema["{a}"].codec == "lz4"
    assert Schema(str(schema)) == schema


@pytest.mark.parametrize("kind", ["series", "kv"])
def test_a_schema_shows_and_stores_its_definition(kind: str) -> None:
    make = Schema.kv if kind == "kv" else Schema
    for names in (("t", "x"), ("the time", "x'y")):
        schema = make({names[0]: "timestamp*", names[1]: "float | plain"})
        assert eval(repr(schema), {"Schema": Schema}) == schema
        assert Schema.loads(schema.dumps()) == schema
        assert schema.kind == kind


def test_kind_and_codec_tell_schemas_apart() -> None:
    schemas = [Schema(x="int*"), Schema.kv(x="int*"), Schema(x="int* | zstd"), Schema(x="int32*")]
    assert len(set(schemas)) == len({schema.dumps() for schema in schemas}) == 4


def test_a_schema_does_not_change() -> None:
    for name in ("kind", "columns", "anything"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(WEATHER, name, "kv")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, "no index"),
        ({"x": "float"}, "no index"),
        ({"x": "flaot*"}, "did you mean 'float'"),
        ({"x": "int* | gzip"}, "unknown codec 'gzip', expected one of plain, lz4, zstd, pco"),
        ({"x": "int* | pickle"}, "unknown codec"),
        ({"x": "int* |"}, "cannot read the definition"),
        ({"x": "int* | plain*"}, "cannot read the definition"),
        ({"x": "str* | pco"}, "use 'zstd'"),
        ({"x": "list<int>*"}, "cannot be an index"),
        ({"x": "null*"}, "cannot be an index"),
        ({"x": "dictionary<values=str, indices=int8>*"}, "use the type of its values"),
        ({"x": ""}, "expected a definition"),
        ({"x": 5}, "expected a definition"),
        ({"x": None}, "expected a definition"),
        ({"": "int*"}, "needs a name"),
        ({" ": "int*"}, "needs a name"),
        ({3: "int*"}, "needs a name"),
        ({"a\0b": "int*"}, "NUL"),
        ({"\ud800": "int*"}, "surrogate"),
        ({"lakota:stamp": "int*"}, "reserved"),
        ("t timestamp*\nvalue", "column 'value': expected a definition"),
        ("t timestamp*\nt int", "two columns are called 't'"),
        (5, "expected text"),
    ],
)
def test_a_schema_that_cannot_be_is_refused(columns: Any, said: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema(columns)
    assert said in str(caught.value)


def test_text_and_keywords_do_not_mix() -> None:
    with pytest.raises(SchemaError, match="not both"):
        Schema("t int*", x="float")


def document(**changes: Any) -> str:
    column = {"codec": None, "index": True, "name": "x", "type": "int"}
    column.update(changes.pop("column", {}))
    return json.dumps({"columns": [column], "kind": "series", **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSON"),
        ("[]", "exactly the keys"),
        ("[" * 100_000, "JSON"),
        (None, "JSON"),
        (document(code="import os"), "exactly the keys"),
        (document(columns=[5]), "exactly the keys"),
        (document(columns={}), "unusable columns"),
        (document(columns=[]), "no index"),
        (document(kind="pickle"), "unknown kind"),
        (document(column={"codec": "pickle"}), "unknown codec"),
        (document(column={"codec": 5}), "unusable codec"),
        (document(column={"index": 1}), "unusable index"),
        (document(column={"type": "pickle"}), "never pickled"),
        (document(column={"type": "list<" * 5000}), "16 deep"),
        (document(column={"type": 5}), "unusable type"),
        (document(column={"name": "lakota:x"}), "reserved"),
        (document(column={"__reduce__": "os.system"}), "exactly the keys"),
    ],
)
def test_a_stored_schema_is_closed(text: Any, said: str) -> None:
    assert Schema.loads(document()) == Schema(x="int*")
    with pytest.raises(SchemaError) as caught:
        Schema.loads(text)
    assert said in str(caught.value)


NAMES = st.text(min_size=1).filter(
    lambda name: name.strip() and "\0" not in name and not name.startswith("lakota:")
)


@given(st.dictionaries(NAMES, st.sampled_from(["int", "list<str>", "date | zstd"]), min_size=1))
def test_dumps_reads_back_whatever_the_names(columns: dict[str, str]) -> None:
    schema = Schema({"k e y": "timestamp[ns, UTC]*", **columns})
    assert Schema.loads(schema.dumps()) == schema
    assert Schema.loads(schema.dumps()).dumps() == schema.dumps()


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"x": [0.5], "s": ["a"], "k": [1], "l": [[1]]}),
        pl.LazyFrame({"x": [0.5], "s": ["a"], "k": [1], "l": [[1]]}),
        pa.table({"x": [0.5], "s": pa.array(["a"], pa.large_string()), "k": [1], "l": [[1]]}),
        pa.table({"x": [0.5], "s": ["a"], "k": [1], "l": [[1]]}).schema,
        pd.DataFrame({"x": [0.5], "s": ["a"], "k": [1], "l": [[1]]}, index=[7]),
        {"x": [0.5], "s": ["a"], "k": [1], "l": [[1]]},
    ],
    ids=lambda frame: type(frame).__module__.partition(".")[0] + type(frame).__name__,
)
def test_a_schema_is_taken_from_any_frame(frame: Any) -> None:
    schema = Schema.from_frame(frame, index=["k"])
    assert schema == Schema(k="int*", x="float", s="str", l="list<int>")


def test_a_schema_is_taken_from_duckdb() -> None:
    with duckdb.connect() as connection:
        relation = connection.sql("select 1::bigint as k, 0.5::double as x, [1::bigint] as l")
        assert Schema.from_frame(relation, "k") == Schema(k="int*", x="float", l="list<int>")


def test_categories_are_their_values() -> None:
    frame = pl.DataFrame({"k": [1], "c": pl.Series(["a"], dtype=pl.Categorical)})
    assert Schema.from_frame(frame, index="k", kind="kv") == Schema.kv(k="int*", c="str")


def test_from_arrow_keeps_types_and_drops_metadata_and_nullability() -> None:
    nested = pa.list_(pa.field("element", pa.large_string(), False))
    fields = [pa.field("k", pa.int8(), False, {"a": "b"}), pa.field("l", nested)]
    schema = Schema.from_arrow(pa.schema(fields, {"m": "n"}), index=["k"])
    assert schema.arrow.equals(
        pa.schema([("k", pa.int8()), ("l", pa.list_(pa.large_string()))]), check_metadata=True
    )


@pytest.mark.parametrize(
    ("schema", "index", "said"),
    [
        (pa.schema({"k": pa.int8()}), ["z"], "index 'z' is not a column"),
        (pa.schema({"k": pa.int8()}), ["k", "k"], "names twice 'k'"),
        (pa.schema({"k": pa.int8()}), [], "no index"),
        (pa.schema([("k", pa.int8()), ("k", pa.int8())]), ["k"], "two columns are called 'k'"),
        (pa.schema({"k": pa.uuid()}), ["k"], "storage type"),
    ],
)
def test_an_arrow_schema_that_does_not_fit_is_refused(
    schema: pa.Schema, index: list[str], said: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema.from_arrow(schema, index)
    assert said in str(caught.value)


def test_what_has_no_columns_is_no_frame() -> None:
    with pytest.raises(SchemaError, match="cannot see columns in int"):
        Schema.from_frame(5, index="k")


@pytest.mark.parametrize("frame", [pl.DataFrame({"k\0": [1]}), pl.LazyFrame({"k\0": [1]})])
def test_a_name_at_which_polars_would_end_the_process_is_refused(frame: Any) -> None:
    with pytest.raises(SchemaError, match="the name has a NUL"):
        Schema.from_frame(frame, index="k\0")


def test_a_column_that_is_not_there_raises_with_those_that_are() -> None:
    with pytest.raises(NotFoundError, match=r"did you mean 'value'.*'timestamp', 'station'"):
        WEATHER["valeu"]
    assert "value" in WEATHER and "valeu" not in WEATHER


def test_select_keeps_the_order_asked() -> None:
    assert WEATHER.check_select(None) == ("timestamp", "station", "value")
    assert WEATHER.check_select("value") == ("value",)
    assert WEATHER.check_select(["value", "timestamp"]) == ("value", "timestamp")
    with pytest.raises(NotFoundError, match="the columns are"):
        WEATHER.check_select(["value", "x"])
    with pytest.raises(SchemaError, match="twice"):
        WEATHER.check_select(["value", "value"])


def test_a_bound_of_a_single_column_is_one_value() -> None:
    with pytest.raises(RangeError, match=r"expected 1 value for the index \(n\), found 2"):
        Schema(n="int*").key((1, 2))


def test_a_bound_is_a_prefix_of_the_index() -> None:
    assert WEATHER.key("1970-01-01") == (0,)
    assert WEATHER.key(["1970-01-01", ""]) == (0, "")
    assert Schema(b="bool*").key(False) == (False,)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((), "expected 1 to 2 values for the index (timestamp, station), found 0"),
        (("1970-01-01", "a", 1.0), "found 3"),
        (None, "stop=None cannot bound column 'timestamp' (timestamp): None is not a key"),
        (("1970-01-01", 3), "cannot bound column 'station' (str): expected a str, found int"),
        (5, "a number has no unit"),
    ],
)
def test_a_bound_that_cannot_be_names_column_and_type(values: Any, said: str) -> None:
    with pytest.raises(RangeError) as caught:
        WEATHER.key(values, what="stop")
    assert said in str(caught.value)


def test_pco_is_for_numbers_and_times() -> None:
    for dtype in (pa.int8(), pa.float16(), pa.date32(), pa.decimal128(5, 2), pa.duration("s")):
        assert Column("x", dtype, codec="pco").codec in CODECS
    for dtype in (pa.bool_(), pa.string(), pa.list_(pa.int8()), pa.null()):
        with pytest.raises(SchemaError, match="pco"):
            Column("x", dtype, codec="pco")
