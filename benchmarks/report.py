"""From figures to a table, with the targets beside. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

Figures = Mapping[str, Sequence[float]]

TARGETS = {
    "W1 write": 0.8,
    "W2 read, new handle": 0.7,
    "W2p read, new handle": 1.3,
    "W3 range, open handle": 0.3,
    "W3 range, new handle": 0.7,
    "W3p range, open handle": 0.3,
    "W3p range, new handle": 0.7,
    "W4 commits": 0.6,
    "W4 then full read, new handle": 1.0,
    "W4 then range, open handle": 0.5,
    "W4 then append, new handle": 0.7,
    "W5 bulk": 1.0,
    "W5 open and list labels": 1.0,
    "W5 read one series": 0.5,
    "W5 small append": 1.0,
    "W6 overwrite": 1.0,
    "W6 read after": 0.7,
    "W6 read the version before": 0.7,
    "W1 peak memory over the input, bytes": 1.0,
    "W4 peak memory over the input, bytes": 1.0,
    "W5 peak memory over the input, bytes": 1.0,
    "W4 stored, bytes": 1.0,
    "W9 packed, bytes": 0.3,
}
"""Ours over the best versioned peer: at most this."""

SAME_AS = {"W2p": "W2", "W3p": "W3"}
"""What is compared with the peers' figures of another work: they have nothing to pack."""


def table(found: Mapping[str, Figures], limits: Mapping[str, float], heading: str) -> str:
    """Markdown."""
    names = list(found)
    metrics = list(dict.fromkeys(metric for figures in found.values() for metric in figures))
    lines = [heading, ""]
    columns = ["work", *names, "ours / best peer", "target"]
    lines += [_row(columns), _row(["---"] * len(columns))]
    for metric in metrics:
        cells = [_cell(metric, found[name].get(metric)) for name in names]
        target = TARGETS.get(metric)
        lines.append(
            _row([metric, *cells, _ratio(metric, found), f"<= {target}" if target else ""])
        )
    lines += ["", _row(["limit of the machine", ""]), _row(["---", "---"])]
    lines += [_row([what, _show(what, value)]) for what, value in limits.items()]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(metric: str, values: Sequence[float] | None) -> str:
    if not values:
        return ""
    shown = _show(metric, statistics.median(values))
    if len(values) > 1 and not metric.endswith("bytes") and max(values) > 1.3 * min(values):
        shown += f" ({_show(metric, min(values))} to {_show(metric, max(values))})"
    return shown


def _show(metric: str, value: float) -> str:
    if metric.endswith("bytes"):
        return f"{value / 1e6:.2f} MB" if value >= 1e5 else f"{value / 1e3:.1f} kB"
    if metric.endswith(("files", "flushes")):
        return f"{value:,.0f}"
    if metric.endswith("ratio"):
        return f"{value:.2f}"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.0f} us"


def _ratio(metric: str, found: Mapping[str, Figures]) -> str:
    ours = found.get("ours", {}).get(metric)
    work, _, rest = metric.partition(" ")
    other = f"{SAME_AS.get(work, work)} {rest}"
    peers = [
        statistics.median(figures[other])
        for name, figures in found.items()
        if name != "ours" and figures.get(other)
    ]
    if not ours or not peers or not min(peers):
        return ""
    return f"{statistics.median(ours) / min(peers):.2f}"
