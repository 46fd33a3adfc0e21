"""Who may talk to the page's server.

A page on another site can make a browser send requests to 127.0.0.1, also through a name of its
own that resolves there. So the `Host` must be an address or a name that is ours, and an `Origin`
must be the very page that the server gave out.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def host_allowed(host: str, bound: str) -> bool:
    """Say whether a `Host` header names this server.

    Args:
        host: The header, for example `localhost:8080`.
        bound: Address or name that the server is bound to; a wildcard address (`0.0.0.0`, `::`)
            allows every numeric address, which no foreign name can pretend to be.
    """
    name = _name(host)
    if name in LOOPBACK_NAMES or name == bound.lower():
        return True
    try:
        wildcard = ipaddress.ip_address(bound).is_unspecified
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return wildcard


def origin_allowed(origin: str | None, host: str) -> bool:
    """Say whether an `Origin` header, where a browser sent one, is the page at `host`."""
    if origin is None:
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class Guard:
    """Refuses foreign hosts and origins with status 403, and sets headers on every answer."""

    def __init__(self, app: ASGIApp, bound: str) -> None:
        self._app = app
        self._bound = bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host_allowed(host, self._bound) and origin_allowed(headers.get("origin"), host):
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            refusal = PlainTextResponse("this host or origin is not served\n", status_code=403)
            await refusal(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in message["headers"]}
            extra = [(name.encode(), text.encode()) for name, text in HEADERS.items()]
            message["headers"] = [
                *message["headers"],
                *(pair for pair in extra if pair[0] not in names),
            ]
        await send(message)

    return sender
