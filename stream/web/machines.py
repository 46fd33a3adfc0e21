"""What machines ask: `/metrics` and `/health`, beside the page or on a port of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stream.contracts import RunInfo
from stream.frame import Frame, Masks
from stream.metrics import Exposition
from stream.vitals import Health, Vitals
from stream.web.guard import LOOPBACK_NAMES, Guard
from stream.web.server import Server

_json = msgspec.json.Encoder()


def machine_routes(
    vitals: Vitals, *, metrics: bool, clock_ns: Callable[[], int] = time.monotonic_ns
) -> list[BaseRoute]:
    """Return the routes for machines.

    Args:
        vitals: What is known of the run.
        metrics: Whether `/metrics` is among them.
        clock_ns: Monotonic time.
    """
    exposition = Exposition(vitals, clock_ns)

    async def scrape(request: Request) -> Response:
        body, content_type = exposition.render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def live(request: Request) -> Response:
        health = vitals.health(clock_ns())
        return _answer(health, health.live)

    async def ready(request: Request) -> Response:
        health = vitals.health(clock_ns())
        return _answer(health, health.live and health.ready)

    async def everything(request: Request) -> Response:
        health = vitals.health(clock_ns())
        return _answer(health, health.live and health.ready, _stages(vitals, health))

    routes: list[BaseRoute] = [
        Route("/health", everything),
        Route("/health/live", live),
        Route("/health/ready", ready),
    ]
    return [*routes, Route("/metrics", scrape)] if metrics else routes


class MetricsSink:
    """Serves metrics and health alone, for machines without a page.

    Attributes:
        url: Where it is; final after `open`.
    """

    name = "metrics"

    def __init__(self, host: str, port: int, info: RunInfo) -> None:
        self._host = host
        self._info = info
        self._server = Server(host, port, "metrics")

    @property
    def url(self) -> str:
        """Where the metrics are."""
        return f"{self._server.url}metrics"

    def open(self) -> None:
        """Bind and start to serve.

        Raises:
            SinkError: The port is in use or may not be bound.
            UsageError: The host is not one of this machine.
        """
        routes = machine_routes(self._info.vitals, metrics=True)
        guard = Middleware(Guard, bound=self._host)
        self._server.open(Starlette(routes=routes, middleware=[guard]))
        if self._host not in LOOPBACK_NAMES:
            structlog.get_logger().warning(
                "the metrics are open to everyone who reaches this address", url=self.url
            )

    def write(self, frame: Frame, masks: Masks) -> None:
        """Nothing: the publisher counts for all sinks."""

    def close(self) -> None:
        """Stop serving."""
        self._server.stop(force=True)


def _answer(health: Health, well: bool, more: dict[str, Any] | None = None) -> Response:
    body = {"live": health.live, "ready": health.ready, "reasons": health.reasons}
    data = _json.encode(body | (more or {}))
    return Response(data, 200 if well else 503, media_type="application/json")


def _stages(vitals: Vitals, health: Health) -> dict[str, Any]:
    stages = {name: asdict(stage) for name, stage in health.stages.items()}
    for stage in stages.values():
        stage["heartbeat_age_s"] = _rounded(stage["heartbeat_age_s"])
    return {"stream": vitals.stream, "age_s": _rounded(health.age_s), "stages": stages}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
