"""From figures to pages: Markdown, the short form for the README, JSON. Pure but for `publish`."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plot
from library import UNFLUSHED
from units import show, times
from verdicts import OURS, Verdict, better, median
from verdicts import verdicts as judged

MARKS = "<!-- benchmarks: written by `make bench` -->", "<!-- end of benchmarks -->"
NO_FIGURES = ("flushes", "files", "plain copy", "bytes of all", "import")
"""Where less says nothing about better."""


def page(everything: Mapping[str, Any]) -> str:
    """The whole report: `page.md`, filled in."""
    template = Path(__file__).with_name("page.md").read_text()
    filled = template.format(
        **everything["sizes"],
        machine=_machine(everything),
        targets=verdicts(everything),
        figures="\n\n".join(_figures(everything)),
        growth=_growth(everything.get("growth") or {}),
        better=_better(everything),
        missing=_missing(everything),
    )
    return re.sub(r"\n{3,}", "\n\n", filled)


def verdicts(everything: Mapping[str, Any]) -> str:
    """The table of targets."""
    rows = [
        [
            verdict.metric,
            show(verdict.metric, verdict.ours),
            _compared(verdict),
            times(verdict.ratio) if verdict.reference else "",
            f"<= {_factor(verdict)}",
            show(verdict.metric, verdict.limit) if verdict.limit else "",
            _outcome(verdict),
        ]
        for verdict in judged(everything)
    ]
    met = sum(verdict.met for verdict in judged(everything))
    heads = ["work", "ours", "compared with", "ratio", "target", "limit of the machine", ""]
    return f"{met} of {len(rows)} are met.\n\n{table(heads, rows)}"


def _compared(verdict: Verdict) -> str:
    if not verdict.reference:
        return ""
    return f"{verdict.reference}: {show(verdict.metric, verdict.compared)}"


def _factor(verdict: Verdict) -> str:
    if verdict.reference:
        return f"{verdict.factor:g}"
    return show(verdict.metric, verdict.factor * verdict.compared)


def _outcome(verdict: Verdict) -> str:
    if not verdict.met:
        return "**missed**"
    return "met" if verdict.ours <= verdict.factor * verdict.compared else "met (limit)"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _machine(everything: Mapping[str, Any]) -> str:
    facts = everything["machine"]
    rows = [["date", f"{everything['date']}, {everything['minutes']} minutes"]]
    rows += [[name, value] for name, value in facts.items()]
    rows += [["libraries", ", ".join(f"{n} {v}" for n, v in everything["versions"].items())]]
    limits = [[name, show(name, value)] for name, value in everything["limits"].items()]
    return "\n\n".join(
        [
            table(["", ""], rows),
            "What it can do at best, without any library around it:",
            table(["limit", ""], limits),
        ]
    )


def _figures(everything: Mapping[str, Any]) -> Iterable[str]:
    figures = everything["figures"]
    names = [name for name in figures if figures[name]]
    metrics = list(dict.fromkeys(metric for name in names for metric in figures[name]))
    groups: dict[str, list[str]] = {}
    for metric in metrics:
        groups.setdefault(_group(metric), []).append(metric)
    for group in sorted(groups, key=_order):
        rows = [
            [metric, *(_cell(metric, figures[name].get(metric)) for name in names)]
            for metric in groups[group]
        ]
        yield f"### {group}\n\n" + table(["", *names], rows)


def _group(metric: str) -> str:
    return re.sub(r"^(W\d+)[a-z]\b", r"\1", metric.partition(" ")[0].rstrip(":,"))


def _order(group: str) -> tuple[int, str]:
    number = re.fullmatch(r"W(\d+)", group)
    return (int(number[1]) if number else 99), group


def _cell(metric: str, values: Sequence[float] | None) -> str:
    if not values:
        return ""
    shown = show(metric, statistics.median(values))
    if min(values) * 1.1 < max(values):
        shown += f" ({show(metric, min(values))} to {show(metric, max(values))})"
    return shown


def _growth(curves: Mapping[str, Any]) -> str:
    if not curves:
        return ""
    parts = [
        "## Growth",
        'This library alone, with `durability="os"`: commits of 1,000 rows to one series, and '
        "series of 100 rows in commits of at most 100,000 series. `commit` is the mean of the last "
        "100. [design.md](design.md#what-things-cost) says what order is expected.",
        "![Curves of cost by commits and by series](growth.svg)",
    ]
    for points in curves.values():
        names = list(points[0])
        rows = [[name, *(_point(name, point[name]) for point in points)] for name in names[1:]]
        parts.append(table([names[0], *(f"{point[names[0]]:,}" for point in points)], rows))
    return "\n\n".join(parts)


def _point(name: str, value: float) -> str:
    return f"{value:,.0f}" if name == "files" else show(name, value)


def _better(everything: Mapping[str, Any]) -> str:
    rows = [
        [metric, show(metric, ours), ", ".join(f"{n} {show(metric, v)}" for n, v in theirs)]
        for metric, ours, theirs in better(everything)
        if not any(word in metric for word in NO_FIGURES)
    ]
    if not rows:
        return ""
    return "## Where others are better\n\n" + table(["", "ours", "better"], rows)


def _missing(everything: Mapping[str, Any]) -> str:
    who: dict[tuple[str, str], list[str]] = {}
    for name, found in everything["missing"].items():
        for what, why in found.items():
            who.setdefault((what, why.replace("|", "\\|")), []).append(name)
    if not who:
        return ""
    rows = [[what, why, ", ".join(names)] for (what, why), names in sorted(who.items())]
    return "## What could not be done\n\n" + table(["work", "why", "by"], rows)


# ---- Into the documents


SHORT = (
    "W1 write",
    "W2 read, new handle",
    "W3 range, open handle",
    "W4 commits",
    "W4 then append, new handle",
    "W5 bulk",
    "W5 read one series",
    "W6 overwrite",
    "W7 one more commit",
    "W9 packed, bytes",
    "W10: replay",
)
SAID = {
    "W1 write": "write {rows:,} rows in one commit",
    "W2 read, new handle": "read them all and sum them",
    "W3 range, open handle": "read a day of them",
    "W4 commits": "{commits:,} commits of {commit_rows:,} rows",
    "W4 then append, new handle": "one more, from a new handle",
    "W5 bulk": "{series:,} series in one commit",
    "W5 read one series": "read one of these",
    "W6 overwrite": "overwrite a tenth",
    "W7 one more commit": "replicate one more commit",
    "W9 packed, bytes": "bytes of {rows:,} rows, packed",
    "W10: replay": "replay {publications} real publications",
}
LIKE = {"W9 packed, bytes": "W9 as written, bytes"}
"""What of the peers stands beside."""


def short(everything: Mapping[str, Any]) -> str:
    """A table for the README."""
    names = [name for name in everything["figures"] if name not in (OURS, UNFLUSHED)]
    rows = []
    for metric in SHORT:
        ours = median(everything, OURS, metric)
        if ours is None:
            continue
        cells = [median(everything, name, LIKE.get(metric, metric)) for name in names]
        shown = ["" if cell is None else show(metric, cell) for cell in cells]
        rows.append([said(metric, everything), show(metric, ours), *shown])
    return table(["", "Lakota", *names], rows)


def said(metric: str, everything: Mapping[str, Any]) -> str:
    return SAID[metric].format(**everything["sizes"])


def publish(root: Path, everything: Mapping[str, Any]) -> None:
    """`docs/benchmarks.md`, `.json`, two plots, and the part of the README between the marks."""
    docs = root / "docs"
    (docs / "benchmarks.md").write_text(page(everything))
    path = docs / "benchmarks.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**kept, "full": everything}, indent=1) + "\n")
    named = [name for name in everything["figures"] if name != UNFLUSHED]
    rows = [
        (
            said(metric, everything),
            {
                n: median(everything, n, LIKE.get(metric, metric) if n != OURS else metric)
                for n in named
            },
        )
        for metric in SHORT
    ]
    (docs / "benchmarks.svg").write_text(plot.dots(rows, OURS))
    if everything.get("growth"):
        (docs / "growth.svg").write_text(plot.growth(everything["growth"]))
    readme = root / "README.md"
    begin, end = MARKS
    before, _, rest = readme.read_text().partition(begin)
    _, _, after = rest.partition(end)
    if rest:
        readme.write_text(f"{before}{begin}\n\n{short(everything)}\n\n{end}{after}")
