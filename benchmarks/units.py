"""How a figure is written. The name of a metric says its unit."""

from __future__ import annotations

COUNTS = ("requests", "flushes", "files")


def show(metric: str, value: float) -> str:
    """`12.3 ms`, `4.56 MB`, `7`."""
    if "ratio" in metric:
        return f"{value:.2f}"
    if "bytes" in metric:
        return _bytes(value)
    if any(word in metric for word in COUNTS):
        return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    return _seconds(value)


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return (
                f"{value / size:.3g} {unit}"
                if value < 1000 * size
                else f"{value / size:.0f} {unit}"
            )
    return f"{value:.0f} B"


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            shown = value / size
            return f"{shown:.3g} {unit}" if shown < 1000 else f"{shown:.0f} {unit}"
    return "0" if value == 0 else f"{value * 1e6:.2g} us"


def times(ratio: float) -> str:
    """A ratio with two or three figures."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
