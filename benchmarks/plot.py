"""Plots as SVG, without any library. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

FONT = 'font-family="Helvetica, Arial, DejaVu Sans, sans-serif" font-size="12"'
COLOURS = ("#888", "#e69f00", "#56b4e9", "#009e73", "#8c6d31", "#cc79a7", "#d55e00", "#0072b2")
OWN = "#c00"


def _svg(width: int, height: int, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" {FONT}>\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = "#ddd") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _dot(x: float, y: float, colour: str, radius: float = 4) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def dots(rows: Sequence[tuple[str, Mapping[str, float | None]]], own: str) -> str:
    """A line for each row, a dot for each library, where it stands in relation to `own`: left of
    the line at 1 is less time or fewer bytes than ours. Logarithmic."""
    rows = [(name, values) for name, values in rows if values.get(own)]
    names = [name for name in dict.fromkeys(n for _, values in rows for n in values) if name != own]
    colours = dict(zip(names, COLOURS, strict=False))
    left, width, step, top = 260, 860, 26, 50
    low, high = -2, 4

    def at(ratio: float) -> float:
        bounded = min(max(math.log10(ratio), low), high)
        return left + (bounded - low) / (high - low) * (width - left - 30)

    bottom = top + step * len(rows)
    parts = []
    for power in range(low, high + 1):
        x = at(10.0**power)
        parts.append(_line(x, top - 12, x, bottom - 8, "#c00" if power == 0 else "#ddd"))
        label = "Lakota" if power == 0 else f"{10.0**power:g} x"
        parts.append(_text(x, bottom + 8, label, "middle", "#666"))
    x = left
    for name in names:
        parts += [_dot(x, 16, colours[name]), _text(x + 8, 20, name)]
        x += 16 + 7 * len(name) + 12
    for i, (name, values) in enumerate(rows):
        y = top + step * i
        ours = values[own] or 1.0
        parts += [_text(left - 12, y + 4, name, "end"), _line(left, y, width - 30, y, "#eee")]
        parts += [
            _dot(at(value / ours), y, colours[other])
            for other, value in values.items()
            if other != own and value
        ]
        parts.append(_dot(at(1), y, OWN, 5))
    parts.append(_text(left - 40, bottom + 8, "time or bytes, ours as 1:", "end", "#666"))
    return _svg(width, bottom + 20, parts)


def growth(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Six panels: time, bytes and memory by commits and by series."""
    panels = (
        ("commits", ("commit", "range, open handle", "range, new handle"), "seconds"),
        ("commits", ("stored, bytes per commit",), "bytes"),
        ("commits", ("resident, bytes",), "bytes"),
        (
            "series",
            ("read one series", "small append", "write, seconds per 1,000 series"),
            "seconds",
        ),
        ("series", ("stored, bytes per series", "small append adds, bytes"), "bytes"),
        ("series", ("peak memory over the input, bytes",), "bytes"),
    )
    width, height = 300, 220
    parts = []
    for i, (what, names, unit) in enumerate(panels):
        x, y = i % 3 * width, i // 3 * height
        parts.append(f'<g transform="translate({x},{y})">')
        parts += _panel(curves[what], what, names, unit, width, height)
        parts.append("</g>")
    return _svg(3 * width, 2 * height, parts)


def _panel(
    points: Sequence[Mapping[str, Any]],
    what: str,
    names: Sequence[str],
    unit: str,
    width: int,
    height: int,
) -> list[str]:
    left, right, top, bottom = 52, width - 32, 20 + 14 * len(names), height - 34
    xs = [math.log10(point[what]) for point in points]
    shown = [value for point in points for name in names if (value := point[name]) > 0]
    low, high = math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown)))
    high = max(high, low + 2)
    span = max(xs[-1] - xs[0], 1)

    def place(x: float, value: float) -> tuple[float, float]:
        y = (math.log10(value) - low) / (high - low)
        return left + (x - xs[0]) / span * (right - left), bottom - y * (bottom - top)

    parts = []
    for power in range(low, high + 1):
        _, y = place(xs[0], 10.0**power)
        parts += [
            _line(left, y, right, y),
            _text(left - 4, y + 4, _tick(power, unit), "end", "#666"),
        ]
    for power in range(math.ceil(xs[0]), math.floor(xs[-1]) + 1):
        x, _ = place(power, 10.0**low)
        parts.append(_text(x, bottom + 14, f"{10**power:,}", "middle", "#666"))
    parts.append(_text((left + right) / 2, height - 6, what, "middle"))
    for name, colour in zip(names, (OWN, *COLOURS[1:]), strict=False):
        found = [place(x, point[name]) for x, point in zip(xs, points, strict=True) if point[name]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in found)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
        parts += [_dot(x, y, colour, 3) for x, y in found]
    for i, (name, colour) in enumerate(zip(names, (OWN, *COLOURS[1:]), strict=False)):
        parts += [_dot(left + 4, 12 + 14 * i, colour, 3), _text(left + 12, 16 + 14 * i, name)]
    return parts


def _tick(power: int, unit: str) -> str:
    value = 10.0**power
    steps = (
        (("s", 0), ("ms", -3), ("us", -6))
        if unit == "seconds"
        else (
            ("GB", 9),
            ("MB", 6),
            ("kB", 3),
            ("B", 0),
        )
    )
    for name, least in steps:
        if power >= least or name == steps[-1][0]:
            return f"{value / 10.0**least:g} {name}"
    return f"{value:g}"
