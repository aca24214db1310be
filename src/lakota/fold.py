"""Folding settled upserts into the rows that they lie over.

A layer can become part of its base once no write that is older than it, and that this repo does
not know yet, can arrive any more: such a write would have come to lie between the two. Only the
user can know that; so folding takes a stamp up to which the history is settled. The folded rows
have the latest stamp of what they are made of, so every write that is newer wins over them as
before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import pyarrow as pa

from .extent import NOWHERE, REPLACE, Extent, clusters
from .interval import Interval
from .layout import Piece
from .manifest import Manifest
from .overlay import Slice, rows
from .region import parts, settle
from .site import Site

__all__ = ["folds"]


def folds(site: Site, manifest: Manifest, settled: int, stamp: int) -> Iterator[Piece]:
    """For each stretch of a series where upserts with stamps up to `settled` lie over rows that
    are as old: the rows that they make together, as one replace placed at `stamp`."""
    for label, group in groupby(manifest.extents(), key=lambda e: e.label):
        extents = list(group)
        layers = [e for e in extents if e.kind != REPLACE and e.stamp <= settled]
        for cluster in clusters(layers):
            hull = Interval(cluster[0].lo, max(e.hi for e in cluster))
            base = [e for e in extents if e.kind == REPLACE and e.interval.meet(hull)]
            if all(e.stamp <= settled for e in base):
                table = _table(site, [*base, *cluster], hull)
                last = max(e.write for e in (*base, *cluster))
                yield Piece(
                    Extent(label, *hull, *last, REPLACE, None, 0, NOWHERE, 0, 0, stamp),
                    table,
                    0,
                    table.num_rows,
                )


def _table(site: Site, extents: Sequence[Extent], hull: Interval) -> pa.Table:
    schema, index, opener = site.schema.arrow, site.schema.index, site.objects.segment
    found = [
        rows([part], schema, opener)
        if isinstance(part, Slice)
        else settle([part], schema.names, schema, index, opener)[0]
        for part in parts(sorted(extents, key=lambda e: e.key), hull, site.index, opener)
    ]
    return pa.concat_tables(found) if found else pa.Table.from_batches([], schema)
