"""The page's routes.

`/ws` speaks like this. The server sends binary messages: 4 bytes with the length of a JSON header
(big endian), the header, then a JPEG. The client answers `ack NUMBER` when it has shown one; only
then is the next sent, always the newest. While there is no new frame the server sends the status
alone, as JSON text.

`POST /api/ask` takes what may be asked of a run (`stream.remote.requests`) as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from stream.web.asking import Asking
from stream.web.guard import Guard
from stream.web.hub import Hub

STATIC = Path(__file__).parent / "static"
STATUS_EVERY_S = 0.5
ACK_TIMEOUT_S = 15.0
SNAPSHOT_TIMEOUT_S = 0.5
TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008

_json = msgspec.json.Encoder()


def make_app(
    hub: Hub, asking: Asking, bound_host: str, more: Sequence[BaseRoute] = ()
) -> Starlette:
    """Return the application that serves a hub.

    Args:
        hub: Where views come from.
        asking: Where requests go.
        bound_host: Address or name that the server is bound to.
        more: Routes beside the page's own.
    """

    async def index(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def health(request: Request) -> Response:
        status = hub.status()
        well = status["state"] not in ("stalled", "ended", "reconnecting")
        known = {key: status[key] for key in ("stream", "state", "frame", "age_ms")}
        body = _json.encode({"status": "ok" if well else "degraded", **known})
        return Response(body, 200 if well else 503, media_type="application/json")

    async def snapshot(request: Request) -> Response:
        last = hub.newest
        view = await hub.next(last.number if last else 0, SNAPSHOT_TIMEOUT_S) or hub.newest
        if view is None:
            return PlainTextResponse("there was no frame yet\n", status_code=503)
        return Response(await hub.jpeg(view), media_type="image/jpeg")

    async def live(socket: WebSocket) -> None:
        await serve_client(socket, hub)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/healthz", health),
            Route("/snapshot.jpg", snapshot),
            Route("/api/ask", asking.answer, methods=["POST"]),
            WebSocketRoute("/ws", live),
            *more,
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, bound=bound_host)],
    )


def pack(header: dict[str, Any], jpeg: bytes) -> bytes:
    """Return a binary message: length of the header, header, picture."""
    text = _json.encode(header)
    return struct.pack(">I", len(text)) + text + jpeg


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and picture of a binary message."""
    (length,) = struct.unpack_from(">I", message)
    header: dict[str, Any] = msgspec.json.decode(message[4 : 4 + length])
    return header, message[4 + length :]


async def serve_client(socket: WebSocket, hub: Hub) -> None:
    """Serve one page until it leaves or the stream ends."""
    await socket.accept()
    if not hub.enter():
        await socket.close(TRY_AGAIN_LATER, "too many pages are open")
        return
    try:
        with contextlib.suppress(WebSocketDisconnect):
            await _feed(socket, hub)
    finally:
        hub.leave()


async def _feed(socket: WebSocket, hub: Hub) -> None:
    number, steps = 0, -1
    while not hub.closed:
        view = await hub.next(number, STATUS_EVERY_S)
        if view is None:
            await socket.send_text(_json.encode(hub.status()).decode())
            continue
        header = {"number": view.number, **view.summary}
        if view.history["end"] != steps:
            header["history"] = view.history
        number, steps = view.number, view.history["end"]
        await socket.send_bytes(pack(header, await hub.jpeg(view)))
        if not await _acknowledged(socket, hub, number):
            return
    await socket.send_text(_json.encode(hub.status()).decode())
    await socket.close(1000, "the stream ended")


async def _answer(socket: WebSocket) -> str | None:
    """Return the next message; None for one that is not text.

    Raises:
        WebSocketDisconnect: The page left.
    """
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text: str | None = message.get("text")
    return text


async def _acknowledged(socket: WebSocket, hub: Hub, number: int) -> bool:
    """Wait until the client has shown a view; close the connection of one that does not say so.

    Returns:
        False when the connection was closed.
    """
    answer = asyncio.ensure_future(_answer(socket))
    end = asyncio.ensure_future(hub.until_closed())
    try:
        await asyncio.wait(
            (answer, end), timeout=ACK_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        if answer.done() and answer.result() == f"ack {number}":
            return True
        if hub.closed:
            return True
        await socket.close(POLICY_VIOLATION, f"ack {number} was expected")
        return False
    finally:
        end.cancel()
        if not answer.done():
            answer.cancel()
