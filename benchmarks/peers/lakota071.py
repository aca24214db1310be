"""Lakota 0.7.1, the library of 2021 to 2023 whose name and model this one took over."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import library
import numpy as np
from data import Columns

from lakota import Repo, Schema

SCHEMA = Schema(timestamp="timestamp*", value="float")
PUBLICATION = Schema(Date="timestamp*", Confirmed="int", Recovered="int", Deaths="int")


class Library(library.Library):
    name = "lakota 0.7.1"
    imports = "from lakota import Repo, Schema"
    replicates = merges = True

    def create(self) -> None:
        self.repo = Repo(self._place())
        self.clct = self.repo.create_collection(SCHEMA, "c")

    def open(self) -> None:
        self.repo = Repo(self._place())
        self.clct = self.repo / "c"

    def _place(self) -> str:
        if self.endpoint is not None:
            os.environ.update(
                AWS_ACCESS_KEY_ID="key",
                AWS_SECRET_ACCESS_KEY="secret",
                AWS_DEFAULT_REGION="us-east-1",
            )
            return f"{self.endpoint.replace('http', 's3')}/bench/lakota071"
        return os.path.join(self.folder, "repo")

    def frame(self, columns: Columns, label: str = library.SERIES) -> Any:
        times = columns.timestamp.view("datetime64[us]").astype("datetime64[s]")
        return {"timestamp": times, "value": columns.value}

    def columns(self, found: Any) -> Columns:
        times = np.asarray(found["timestamp"]).astype("datetime64[us]").view(np.int64)
        return Columns(times, np.asarray(found["value"]))

    def total(self, found: Any) -> float:
        times = np.asarray(found["timestamp"]).view(np.int64)
        return library.sum_wrapping(times, np.asarray(found["value"]))

    def write(self, label: str, frame: Any) -> None:
        self.clct.series(label).write(frame)

    append = write
    overwrite = write

    def table(self, labels: Sequence[str], columns: Columns) -> Any:
        each = len(columns) // len(labels)
        return [
            (label, self.frame(columns.part(i * each, (i + 1) * each)))
            for i, label in enumerate(labels)
        ]

    def bulk(self, table: Any) -> None:
        self.multi(table)

    def multi(self, frames: Iterable[tuple[str, Any]]) -> None:
        with self.clct.multi():
            for label, frame in frames:
                self.clct.series(label).write(frame)

    def read(self, label: str) -> Any:
        return self.clct.series(label).frame()

    def read_range(self, label: str, start: int, stop: int) -> Any:
        bounds = np.array([start, stop], "datetime64[us]").astype("datetime64[s]")
        return self.clct.series(label).frame(bounds[0], bounds[1])

    def version(self, label: str) -> Any:
        return self.clct.changelog.leaf().epoch

    def read_version(self, label: str, version: Any) -> Any:
        return self.clct.series(label).frame(before=_after(version))

    def labels(self) -> Sequence[str]:
        found: list[str] = self.clct.ls()
        return found

    def pull(self, source: library.Library) -> None:
        Repo(self._place()).pull(Repo(os.path.join(source.folder, "repo")))

    def merge(self) -> None:
        self.clct.refresh()
        self.clct.merge()

    # ---- Publications

    def publication(self, table: Any) -> Any:
        countries = table["Country"].to_numpy()
        cuts = np.flatnonzero(countries[1:] != countries[:-1]) + 1
        days = table["Date"].to_numpy().astype("datetime64[s]")
        columns = {"Date": days, **{name: table[name].to_numpy() for name in PUBLICATION.non_idx}}
        return {
            countries[first]: {name: array[first:last] for name, array in columns.items()}
            for first, last in zip([0, *cuts], [*cuts, len(countries)], strict=True)
        }

    def publish(self, publication: Any, only_changes: bool) -> Any:
        if only_changes:
            raise NotImplementedError
        if not hasattr(self, "known"):
            self.known: dict[str, Any] = {}
            self.published_in = self.repo.create_collection(PUBLICATION, "publications")
        clct = self.published_in
        nothing: dict[str, list[Any]] = {name: [] for name in PUBLICATION}
        spans = {
            country: (rows["Date"][0], rows["Date"][-1]) for country, rows in publication.items()
        }
        with clct.multi():
            for country, (first, last) in self.known.items():
                if country not in spans:
                    clct.series(country).write(nothing, start=first, stop=last)
            for country, rows in publication.items():
                first, last = spans[country]
                was = self.known.get(country, (first, last))
                start, stop = min(first, was[0]), max(last, was[1])
                clct.series(country).write(rows, start=start, stop=stop)
        self.known = spans
        return clct.changelog.leaf().epoch

    def published(self, version: Any) -> Any:
        clct = self.repo / "publications"
        before = _after(version)
        commit = clct.changelog.leaf(before=before).commit(clct)
        return {
            country: clct.series(country).frame(before=before)
            for country in sorted(set(commit.label))
        }

    def published_table(self, found: Any) -> Any:
        import pyarrow as pa

        found = {country: rows for country, rows in found.items() if len(rows)}
        lengths = [len(rows) for rows in found.values()]
        days = np.concatenate([np.asarray(rows["Date"]) for rows in found.values()])
        return pa.table(
            {
                "Country": pa.array(np.repeat(list(found), lengths)),
                "Date": pa.array(days.astype("datetime64[D]")),
                **{
                    name: np.concatenate([np.asarray(rows[name]) for rows in found.values()])
                    for name in PUBLICATION.non_idx
                },
            }
        )


def _after(epoch: str) -> str:
    """The first moment after a revision: `before` excludes."""
    return f"{int(epoch, 16) + 1:0{len(epoch)}x}"
