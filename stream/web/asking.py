"""Passes what people ask for on the page on to the run, through the socket it listens at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import zmq
import zmq.asyncio
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from stream.contracts import RunInfo
from stream.remote.client import TIMEOUT_S
from stream.remote.requests import (
    MAX_BYTES,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode,
)

MOST_AT_ONCE = 8
BODY_TIMEOUT_S = 10.0

Answer = tuple[int, Reply]


class Asking:
    """Answers `POST /api/ask`: a request of `stream.remote.requests` in, its `Reply` out.

    The status is 200 for what was done and 409 for what the run refused; 503 where the run does
    not listen or too many wait, 504 where it does not answer, 403 where the page may not ask.

    Args:
        info: Its `control` says where the run listens, if it does.
        allowed: Whether those who reach the page may change what the run looks for.
        ended: Returns when the page's server is about to end.
        timeout_s: Time for the run's answer.
    """

    def __init__(
        self,
        info: RunInfo,
        allowed: bool,
        ended: Callable[[], Awaitable[None]],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.timeout_s = timeout_s
        self._info = info
        self._allowed = allowed
        self._ended = ended
        self._under_way = 0
        self._context: zmq.asyncio.Context | None = None

    async def answer(self, request: HttpRequest) -> Response:
        """Answer a request of the page."""
        try:
            status, reply = await self._answer(request)
        except ClientDisconnect:
            return Response(status_code=400)
        return Response(encode(reply), status, media_type="application/json")

    def close(self) -> None:
        """Free the sockets, after the loop has ended."""
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = None

    async def _answer(self, request: HttpRequest) -> Answer:
        if not self._allowed:
            return _no(403, "this page may only look; web.control: true lets it ask, too")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            # A form of a foreign page can send other types without asking first.
            return _no(415, f"content type {kind!r} is not accepted; it must be application/json")
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await _body(request)
        except TimeoutError:
            return _no(408, f"the request did not arrive within {BODY_TIMEOUT_S:g} s")
        if body is None:
            return _no(413, f"the request is too large; accepted are {MAX_BYTES} bytes")
        try:
            asked = decode_request(body)
        except ValueError as error:
            return _no(400, str(error))
        return await self._pass_on(asked)

    async def _pass_on(self, asked: Request) -> Answer:
        endpoint = self._info.control
        if endpoint is None:
            return _no(503, "this run does not listen; give it a control.endpoint")
        if self._under_way >= MOST_AT_ONCE:
            return _no(503, f"{MOST_AT_ONCE} requests wait already; try again in a moment")
        self._under_way += 1
        try:
            data = await self._exchange(endpoint, encode(asked))
            reply = decode_reply(data)
        except TimeoutError:
            return _no(504, f"the run did not answer within {self.timeout_s:g} s; it may do it yet")
        except EOFError:
            return _no(503, "the run ends")
        except zmq.ZMQError as error:
            return _no(503, f"{endpoint} cannot be reached: {error.strerror}")
        except ValueError as error:
            return _no(502, f"{endpoint} does not speak as a run does: {error}")
        finally:
            self._under_way -= 1
        return (200 if reply.ok else 409), reply

    async def _exchange(self, endpoint: str, data: bytes) -> bytes:
        """Send a request and wait for the answer.

        Raises:
            TimeoutError: There was none in time.
            EOFError: The server ends.
            zmq.ZMQError: There is no socket to be had.
        """
        if self._context is None:
            self._context = zmq.asyncio.Context()
        socket = self._context.socket(zmq.REQ)
        ended = asyncio.ensure_future(self._ended())
        try:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.IPV6, int("[" in endpoint))
            socket.connect(endpoint)
            await socket.send(data)
            answer = asyncio.ensure_future(socket.recv())
            waited = {answer, ended}
            await asyncio.wait(waited, timeout=self.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            answer.cancel()
            raise EOFError if ended.done() else TimeoutError
        finally:
            ended.cancel()
            socket.close()


async def _body(request: HttpRequest) -> bytes | None:
    """Return what was sent; None for more than `MAX_BYTES`."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            return None
    return bytes(body)


def _no(status: int, error: str) -> Answer:
    return status, Reply(False, error=error)
