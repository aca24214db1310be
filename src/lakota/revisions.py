"""The revisions of a collection as a frame."""

from __future__ import annotations

import polars as pl

from .answer import times
from .changelog import PHI, Changelog, stamp_of

__all__ = ["revisions"]

TEXTS = ("author", "message", "kind")
COUNTS = ("rows", "series")


def revisions(changelog: Changelog) -> pl.DataFrame:
    """Every revision, by stamp, as `Collection.revisions` shows them."""
    history, documents = changelog.told(lambda history: sorted(history.children))
    children = sorted(history.children)
    heads = set(history.heads)
    return pl.DataFrame(
        {
            "child": pl.Series(children, dtype=pl.String),
            "parents": pl.Series(
                [[p for p in history.parents_of[child] if p != PHI] for child in children],
                dtype=pl.List(pl.String),
            ),
            "stamp": pl.from_arrow(times(map(stamp_of, children))),
            **{
                name: pl.Series([doc.get(name) for doc in documents], dtype=pl.String)
                for name in TEXTS
            },
            **{
                name: pl.Series([doc.get(name) for doc in documents], dtype=pl.Int64)
                for name in COUNTS
            },
            "head": pl.Series([child in heads for child in children], dtype=pl.Boolean),
        }
    )
