"""Counters of a server, in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter

__all__ = ["Metrics"]

_TIMES = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class Metrics:
    """Counts requests by operation and status; no names of repos or tokens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._within: Counter[tuple[str, float]] = Counter()
        self._received = self._sent = 0

    def done(self, name: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count a request that was answered."""
        with self._lock:
            self._requests[name, status] += 1
            self._seconds[name] += round(seconds * 1e6)
            for limit in _TIMES:
                self._within[name, limit] += seconds <= limit
            self._received += received
            self._sent += sent

    def text(self) -> str:
        """All of them."""
        with self._lock:
            lines = [
                "# HELP lakota_requests_total Requests answered.",
                "# TYPE lakota_requests_total counter",
            ]
            for (name, status), count in sorted(self._requests.items()):
                lines.append(
                    f'lakota_requests_total{{operation="{name}",status="{status}"}} {count}'
                )
            lines += [
                "# HELP lakota_request_seconds Time from request to the end of the answer.",
                "# TYPE lakota_request_seconds histogram",
            ]
            for name in sorted(self._seconds):
                lines += self._histogram(name)
            lines += [
                "# HELP lakota_requests_running Requests being answered.",
                "# TYPE lakota_requests_running gauge",
                f"lakota_requests_running {self.running}",
                "# HELP lakota_received_bytes_total Bytes of bodies received.",
                "# TYPE lakota_received_bytes_total counter",
                f"lakota_received_bytes_total {self._received}",
                "# HELP lakota_sent_bytes_total Bytes of bodies sent.",
                "# TYPE lakota_sent_bytes_total counter",
                f"lakota_sent_bytes_total {self._sent}",
            ]
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str) -> list[str]:
        count = sum(n for (other, _), n in self._requests.items() if other == name)
        buckets = [
            f'lakota_request_seconds_bucket{{operation="{name}",le="{limit}"}} '
            f"{self._within[name, limit]}"
            for limit in _TIMES
        ]
        return [
            *buckets,
            f'lakota_request_seconds_bucket{{operation="{name}",le="+Inf"}} {count}',
            f'lakota_request_seconds_sum{{operation="{name}"}} {self._seconds[name] / 1e6}',
            f'lakota_request_seconds_count{{operation="{name}"}} {count}',
        ]
