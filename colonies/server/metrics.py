"""Every metric of the hub in one table; docs/operations.md shows it."""

from __future__ import annotations

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTERED = {
    "colonies_rpc_seconds": (Histogram, ("rpc", "status"), "Time to answer a message, in seconds"),
    "colonies_connections": (Gauge, ("door",), "Open WebSocket connections"),
    "colonies_processes_expired_total": (Counter, (), "Processes whose deadline passed"),
    "colonies_processes_swept_total": (
        Counter,
        ("state",),
        "Processes deleted because they had ended long enough ago",
    ),
    "colonies_loop_lag_seconds": (Gauge, (), "How late the event loop was at the last tick"),
}
"""Name, type, labels and meaning. Labels are bounded sets, never ids."""


class Metrics(msgspec.Struct, frozen=True, eq=False):
    """The metrics of one hub, on a registry of its own."""

    registry: CollectorRegistry
    rpc_seconds: Histogram
    connections: Gauge
    processes_expired: Counter
    processes_swept: Counter
    loop_lag: Gauge

    @classmethod
    def create(cls) -> Metrics:
        """Register every metric of the table."""
        registry = CollectorRegistry()
        made = [
            kind(name, help_, labels, registry=registry)
            for name, (kind, labels, help_) in REGISTERED.items()
        ]
        return cls(registry, *made)

    def text(self) -> bytes:
        """Give all metrics in the Prometheus text format."""
        return generate_latest(self.registry)
