"""Laying upserts over rows: one lazy Polars plan, whatever the number of layers.

A *layer* is upserts of one form: rows with all columns, cells (some columns), or keys to delete;
`NTH` says of each row in which order they are laid. First all layers over a region become one
*patch* with at most one row a key: what the newest of them say.
Then the patch is laid over the base rows: an anti-join takes away the rows that it replaces or
deletes, a left join changes the cells that it carries, a concat adds its new keys.

Patches compose like the writes that they stand for, so the result is the fold of the layers, in
stamp order, over the base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

__all__ = ["NTH", "Layer", "lay_over"]

_WHOLE, _CELLS, _GONE = 0, 1, 2
NTH = "lakota:nth"
"""A column of a layer: the number of the upsert that the row is of, int64; later ones have greater
numbers."""
_SAYS, _WAS = "lakota:says", "lakota:was"
_FORM, _ROW, _AT = "lakota:form", "lakota:row", "lakota:at:"
_NEW, _OLD, _SET = "lakota:new:", "lakota:old:", "lakota:set:"


@dataclass(frozen=True, slots=True)
class Layer:
    """Upserts of one form: their rows, with `NTH`, and the value columns that they carry; or keys
    to delete."""

    rows: pl.LazyFrame
    carried: frozenset[str]
    whole: bool
    """Whether it replaces rows; otherwise it changes cells. A column that was added since, which
    it does not carry, keeps its value."""
    gone: bool = False

    @property
    def says(self) -> int:
        """What a row of it says: all of a row, some cells of it, or that it is deleted."""
        return _GONE if self.gone else _WHOLE if self.whole else _CELLS


def lay_over(
    base: pl.LazyFrame,
    layers: Sequence[Layer],
    keys: Sequence[str],
    values: Sequence[str],
    defaults: Mapping[str, Any] | None = None,
) -> pl.LazyFrame:
    """`base` with `layers` laid over it: columns `keys` and `values`, sorted by `keys`. A key that
    is new gets `defaults`, or null, in the columns that no layer carries."""
    base = base.select(*keys, *values)
    if all(layer.gone or (layer.whole and layer.carried.issuperset(values)) for layer in layers):
        kept, added = _lay_rows(base, layers, keys, values)
    else:
        kept, added = _lay_cells(base, layers, keys, values, defaults or {})
    return pl.concat([kept, added], how="vertical").sort(keys, maintain_order=True)


def _lay_rows(
    base: pl.LazyFrame, layers: Sequence[Layer], keys: Sequence[str], values: Sequence[str]
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Where every layer replaces or deletes whole rows."""
    rows = [
        layer.rows.select(
            *keys,
            *(name for name in values if name in layer.carried),
            NTH,
            pl.lit(layer.says, pl.Int8).alias(_SAYS),
        )
        for layer in layers
    ]
    schema = base.clear().select(
        *keys, *values, pl.lit(0, pl.Int64).alias(NTH), pl.lit(0, pl.Int8).alias(_SAYS)
    )
    patch = pl.concat([schema, *rows], how="diagonal")
    patch = patch.sort(NTH).unique(keys, keep="last", maintain_order=True).cache()
    kept = base.join(patch.select(keys), on=keys, how="anti", maintain_order="left")
    return kept, patch.filter(pl.col(_SAYS) != _GONE).select(*keys, *values)


def _lay_cells(
    base: pl.LazyFrame,
    layers: Sequence[Layer],
    keys: Sequence[str],
    values: Sequence[str],
    defaults: Mapping[str, Any],
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Where some layers carry only some columns."""
    patch = _patch(base, layers, keys, values).cache()  # otherwise it is made four times
    replaces = pl.col(_SAYS) != _CELLS
    cells, whole = patch.filter(~replaces), patch.filter(replaces)
    kept = (
        base.join(whole.select(keys), on=keys, how="anti", maintain_order="left")
        .join(
            cells.select(
                *keys,
                *(pl.col(name).alias(_NEW + name) for name in values),
                *(pl.col(_SET + name) for name in values),
            ),
            on=keys,
            how="left",
            maintain_order="left",
        )
        .select(
            *keys,
            *(
                pl.when(_SET + name).then(_NEW + name).otherwise(name).alias(name)
                for name in values
            ),
        )
    )
    unknown = cells.join(base.select(keys), on=keys, how="anti")
    whole = whole.filter(pl.col(_SAYS) == _WHOLE)
    rows = [layer for layer in layers if layer.whole and not layer.gone]
    if any(not layer.carried.issuperset(values) for layer in rows):
        whole = _let_through(whole, base, keys, values)
    added = pl.concat([whole, unknown], how="vertical")
    filled = added.with_columns(
        pl.when(_SET + name).then(name).otherwise(pl.lit(default)).alias(name)
        for name, default in defaults.items()
        if name in values
    )
    return kept, filled.select(*keys, *values)


def _let_through(
    whole: pl.LazyFrame, base: pl.LazyFrame, keys: Sequence[str], values: Sequence[str]
) -> pl.LazyFrame:
    """Rows that replace others keep their first one's values of columns that they never knew."""
    old = base.unique(keys, keep="first", maintain_order=True).select(
        *keys, *(pl.col(name).alias(_OLD + name) for name in values), pl.lit(True).alias(_WAS)
    )
    known = pl.col(_WAS).fill_null(False) & ~pl.col(NTH)
    return (
        whole.join(old, on=keys, how="left")
        .with_columns(
            pl.when(pl.col(_SET + name) | ~known).then(name).otherwise(_OLD + name).alias(name)
            for name in values
        )
        .with_columns((pl.col(_SET + name) | known).alias(_SET + name) for name in values)
        .select(whole.collect_schema().names())
    )


def _patch(
    base: pl.LazyFrame, layers: Sequence[Layer], keys: Sequence[str], values: Sequence[str]
) -> pl.LazyFrame:
    """One row a key: values and whether each is set; `_SAYS`: whether it replaces, changes cells
    or deletes; `NTH`: whether a deletion hides the base."""
    rows = [
        layer.rows.select(
            *keys,
            *(name for name in values if name in layer.carried),
            NTH,
            pl.lit(form, pl.Int32).alias(_FORM),
            pl.lit(layer.says, pl.Int8).alias(_SAYS),
        )
        for form, layer in enumerate(layers)
    ]
    schema = base.clear().select(
        *keys,
        *values,
        pl.lit(0, pl.Int64).alias(NTH),
        pl.lit(0, pl.Int32).alias(_FORM),
        pl.lit(0, pl.Int8).alias(_SAYS),
    )
    stacked = pl.concat([schema, *rows], how="diagonal").sort(NTH).with_row_index(_ROW).cache()
    found = _last_rows(stacked, layers, keys, list(_by_form(layers, values)))
    for at, names in enumerate(_by_form(layers, values).values()):
        said = stacked.select(pl.col(_ROW).alias(f"{_AT}{at}"), *names)
        is_set = pl.col(f"{_AT}{at}").is_not_null()
        found = found.join(said, on=f"{_AT}{at}", how="left").with_columns(
            is_set.alias(_SET + name) for name in names
        )
    return found.select(*keys, *values, *(_SET + name for name in values), NTH, _SAYS)


def _by_form(layers: Sequence[Layer], values: Sequence[str]) -> dict[tuple[int, ...], list[str]]:
    """The columns, by the numbers of the layers that carry them."""
    found: dict[tuple[int, ...], list[str]] = {}
    for name in values:
        carriers = tuple(form for form, layer in enumerate(layers) if name in layer.carried)
        found.setdefault(carriers, []).append(name)
    return found


def _last_rows(
    stacked: pl.LazyFrame,
    layers: Sequence[Layer],
    keys: Sequence[str],
    forms: Sequence[Sequence[int]],
) -> pl.LazyFrame:
    """For each key, and each of `forms`, its last row that layers of these say; `NTH`, `_SAYS`."""
    gone, row = pl.col(_SAYS) == _GONE, pl.col(_ROW)
    heard = pl.lit(True)
    if any(layer.gone for layer in layers):
        # Of a key's rows, those before its last deletion say nothing any more.
        heard = row >= pl.when(gone).then(row).max().over(keys).fill_null(0)
    marked = stacked.select(
        *keys,
        _SAYS,
        gone.alias(NTH),
        *(
            pl.when(pl.col(_FORM).is_in(list(carriers)) & heard).then(row).alias(f"{_AT}{at}")
            for at, carriers in enumerate(forms)
        ),
    )
    last = pl.col(_SAYS).last()
    return marked.group_by(keys).agg(
        *(pl.col(f"{_AT}{at}").max() for at in range(len(forms))),
        pl.col(NTH).any(),
        pl.when(last == _GONE)
        .then(_GONE)
        .when((pl.col(_SAYS) != _CELLS).any())
        .then(_WHOLE)
        .otherwise(_CELLS)
        .cast(pl.Int8)
        .alias(_SAYS),
    )
