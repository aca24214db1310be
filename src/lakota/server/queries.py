"""Questions to a repo that take no copy of it: rows, lists, the log, differences.

An answer follows from the question and from the heads of the collection and of the registry, and
so does its etag: whoever asks again with `If-None-Match` costs a look at two folders.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.types as pat
import xxhash
from starlette.responses import JSONResponse, Response, StreamingResponse

from ..changelog import PHI, Child, History, stamp_of
from ..collection import Collection
from ..errors import NotFoundError, RangeError
from ..schema import Schema
from ..types import type_name
from .answers import FORMATS, MEDIA, body_of
from .calls import Call, Param

__all__ = ["DIFF", "LOG", "ROWS", "SERIES", "collections", "diff", "log", "rows", "series"]

_MOST_ROWS = 1 << 40
_PAGE = 1_000
_TEXT = {"type": "string", "minLength": 1}
_COLLECTION = Param("collection", "The label of a collection.", _TEXT, required=True)
_AS_OF = Param(
    "as_of", "As it was known at a time (ISO 8601, UTC unless said), in a revision or a tag.", _TEXT
)
_BEFORE = Param("before", "As it was known before a time, a revision or a tag.", _TEXT)
_FORMAT = Param(
    "format",
    "The form of the answer; by default what Accept asks for, else json.",
    {"type": "string", "enum": list(FORMATS)},
)
_LIMIT = Param(
    "limit", "At most so many rows.", {"type": "integer", "minimum": 0, "maximum": _MOST_ROWS}
)
_AT_MOST = Param("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": _PAGE})

ROWS = (
    _COLLECTION,
    Param("series", "The label of a series.", _TEXT, required=True),
    Param(
        "start",
        "Rows from this key on. Of an index of several columns: the first, or an array of JSON.",
    ),
    Param("stop", "Rows to before this key."),
    Param(
        "closed",
        "Which ends are included; by default left.",
        {"type": "string", "enum": ["left", "right", "both", "none"]},
    ),
    _AS_OF,
    _BEFORE,
    Param("merged", "All heads together, if they have diverged.", {"type": "boolean"}),
    Param("select", "Only this column; may be given several times.", _TEXT, many=True),
    _LIMIT,
    Param(
        "offset",
        "Without so many first rows.",
        {"type": "integer", "minimum": 0, "maximum": _MOST_ROWS},
    ),
    _FORMAT,
)
SERIES = (
    _COLLECTION,
    _AS_OF,
    Param("after", "Labels after this one, to go on with a list.", _TEXT),
    _AT_MOST,
)
LOG = (
    _COLLECTION,
    Param("before", "Revisions before this one, to go on with a log: a child.", _TEXT),
    _AT_MOST,
)
DIFF = (
    _COLLECTION,
    Param("a", "The earlier moment: a time, a revision or a tag.", _TEXT, required=True),
    Param("b", "The later moment; by default now.", _TEXT),
    Param("labels", "Only series whose labels match this pattern (*, ?, [abc]).", _TEXT),
    _FORMAT,
)


async def collections(call: Call) -> Response:
    """The collections of the repo."""
    etag = await call.ask(_etag, call, None)
    return await _conditional(call, etag, lambda: {"collections": list(_collections(call))})


async def series(call: Call) -> Response:
    """The labels of the series that have rows, in order."""
    values = call.values

    def find() -> Any:
        limit = values.get("limit", _PAGE)
        found = _collection(call).ls(as_of=values.get("as_of"))
        after = [label for label in found if label > values.get("after", "")]
        return {"series": after[:limit], "more": len(after) > limit}

    return await _conditional(call, await _collection_etag(call), find)


async def log(call: Call) -> Response:
    """The revisions, newest first."""
    values = call.values

    def find() -> Any:
        limit = values.get("limit", _PAGE)
        clct = _collection(call)
        before = values.get("before", "~")

        def older(history: History) -> list[Child]:
            return sorted((c for c in history.children if c < before), reverse=True)

        history, documents = clct.changelog.told(lambda history: older(history)[:limit])
        children = older(history)
        return {
            "revisions": [*map(partial(_revision, history), children, documents)],
            "more": len(children) > limit,
        }

    return await _conditional(call, await _collection_etag(call), find)


async def rows(call: Call) -> Response:
    """Rows of a series."""
    form = _form(call)
    etag = await _collection_etag(call, form)
    if _is_known(call, etag):
        return Response(status_code=304, headers=_headers(etag))
    schema, pages = await call.ask(_pages, call)
    return await _table(call, schema, pages, form, etag)


async def diff(call: Call) -> Response:
    """The rows that differ between two moments."""
    form = _form(call)
    etag = await _collection_etag(call, form)
    if _is_known(call, etag):
        return Response(status_code=304, headers=_headers(etag))
    values = call.values

    def find() -> pa.Table:
        clct = _collection(call)
        name = "label"
        while name in clct.schema.index:
            name = f"_{name}"
        most = call.service.limits.diff_rows
        found = clct._diff(values["a"], values.get("b"), values.get("labels"), name, most)
        return found.to_arrow()

    table = await call.ask(find)
    return await _table(call, table.schema, iter(table.to_batches(65_536)), form, etag)


# ---- What is found


def _collection(call: Call) -> Collection:
    return call.at.repo.collection(call.values["collection"])


def _collections(call: Call) -> Iterator[dict[str, Any]]:
    for clct in call.at.repo:
        yield {
            "label": clct.label,
            "id": clct.id,
            "kind": clct.schema.kind,
            "columns": [
                {
                    "name": column.name,
                    "type": type_name(column.type),
                    "index": column.name in clct.schema.index,
                }
                for column in clct.schema.columns
            ],
            "heads": list(clct.changelog.heads()),
            "tags": clct.tags(),
        }


def _revision(history: History, child: Child, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "child": child,
        "parents": [parent for parent in history.parents_of[child] if parent != PHI],
        "stamp": stamp_of(child),
        "author": about.get("author"),
        "message": about.get("message"),
        "kind": about.get("kind"),
        "rows": about.get("rows"),
        "series": about.get("series"),
        "head": child in history.heads,
    }


def _pages(call: Call) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The rows asked for. Raises `NotFoundError` for a series that has none at all."""
    values, clct = call.values, _collection(call)
    label, schema = values["series"], clct.schema
    found = clct.series(label)
    names = schema.check_select(values.get("select"))
    pages = found.paginate(
        start=_bound(schema, values.get("start"), "start"),
        stop=_bound(schema, values.get("stop"), "stop"),
        closed=values.get("closed", "left"),
        limit=values.get("limit"),
        offset=values.get("offset"),
        select=names,
        as_of=values.get("as_of"),
        before=values.get("before"),
        merged=values.get("merged", False),
    )
    first = next(pages, None)
    if first is None:
        if not found.count() and not found.count(merged=True):
            raise NotFoundError(f"no series {label!r} in collection {clct.label!r}")
        first = schema.arrow.empty_table().select(list(names))
    return first.schema, _chain(first, pages)


def _chain(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


def _bound(schema: Schema, text: str | None, what: str) -> Any:
    """The key that a text stands for. Raises `RangeError`."""
    if text is None:
        return None
    if len(schema.index) == 1 or not text.startswith("["):
        return _value(schema[schema.index[0]].type, text, what)
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RangeError(f"{what}={text!r}: expected an array of JSON: {error}") from error
    types = [schema[name].type for name in schema.index]
    if not isinstance(given, list) or len(given) > len(types):
        raise RangeError(f"{what}={text!r}: expected up to {len(types)} values")
    return tuple(
        _value(dtype, value, what) if isinstance(value, str) else value
        for dtype, value in zip(types, given, strict=False)
    )


def _value(dtype: pa.DataType, text: str, what: str) -> Any:
    try:
        if pat.is_integer(dtype):
            return int(text)
        if pat.is_floating(dtype):
            return float(text)
        if pat.is_decimal(dtype):
            return Decimal(text)
        if pat.is_boolean(dtype):
            return {"true": True, "false": False}[text]
    except (ValueError, KeyError, ArithmeticError) as error:
        raise RangeError(f"{what}={text!r}: expected a value of {type_name(dtype)}") from error
    return text


# ---- How it is answered


def _form(call: Call) -> str:
    """The form that is asked for."""
    if "format" in call.values:
        return str(call.values["format"])
    accepted = call.request.headers.get("accept", "").lower()
    media = [part.split(";") for part in accepted.split(",")]
    media.sort(key=_weight, reverse=True)  # of equal ones the first stays the first
    kinds = [part[0].strip() for part in media if _weight(part) > 0]
    return next((form for kind in kinds for form, own in MEDIA.items() if kind == own), "json")


def _weight(accepted: Sequence[str]) -> float:
    """How much a form is wanted, from 0 to 1, by what follows its name: 1 unless it says so."""
    for said in accepted[1:]:
        name, _, text = said.partition("=")
        if name.strip() == "q":
            with suppress(ValueError):
                return float(text)
    return 1.0


async def _collection_etag(call: Call, form: str = "") -> str:
    return await call.ask(_etag, call, call.values["collection"], form)


def _etag(call: Call, label: str | None, form: str = "") -> str:
    """What an answer follows from. Raises `NotFoundError`."""
    if not call.at.exists():
        raise NotFoundError("there is no such repo")
    repo = call.at.repo
    chosen = list(repo) if label is None else [repo.collection(label)]
    heads = [call.at.registry.heads(), *(clct.changelog.heads() for clct in chosen)]
    asked = [call.request.url.path, sorted(call.request.query_params.multi_items()), form]
    return f'"{xxhash.xxh3_128_hexdigest(json.dumps([heads, asked]).encode())}"'


def _is_known(call: Call, etag: str) -> bool:
    known = call.request.headers.get("if-none-match", "")
    return etag in (part.strip().removeprefix("W/") for part in known.split(","))


def _headers(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}


async def _conditional(call: Call, etag: str, find: Callable[[], Any]) -> Response:
    if _is_known(call, etag):
        return Response(status_code=304, headers=_headers(etag))
    return JSONResponse(await call.ask(find), headers=_headers(etag))


async def _table(
    call: Call, schema: pa.Schema, tables: Iterator[Any], form: str, etag: str
) -> Response:
    whole = (t if isinstance(t, pa.Table) else pa.Table.from_batches([t]) for t in tables)
    pieces = body_of(schema, whole, form)
    first = await call.ask(next, pieces, b"")  # what fails at once is still told

    async def body() -> AsyncIterator[bytes]:
        piece = first
        while piece:
            yield piece
            piece = await call.ask(next, pieces, b"")

    return StreamingResponse(body(), headers=_headers(etag), media_type=MEDIA[form])
