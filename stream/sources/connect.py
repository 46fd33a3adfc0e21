"""How live addresses are given to FFmpeg, and what their failures are called."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from stream.av_io import MediaError
from stream.config import SourceConfig
from stream.errors import SourceError, UsageError
from stream.sources.uri import escape_credentials, redact, scheme_of, user_of

LIVE_SCHEMES: Final = ("rtsp", "rtsps", "http", "https", "v4l2")
_ESCAPE: Final = "in a password write @ : / # as %40 %3A %2F %23"
_V4L2_FIELDS: Final = {"width": "", "height": "", "fps": "framerate", "format": "input_format"}


@dataclass(frozen=True, slots=True)
class Address:
    """What FFmpeg needs to open a live source; `repr` shows no credentials."""

    name: str
    """What to print."""
    url: str = field(repr=False)
    container_format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    has_user: bool = False
    """The address names a user."""


def address_of(config: SourceConfig) -> Address:
    """Build the address and options of a live source.

    Raises:
        UsageError: A part of the address is missing or not accepted.
    """
    scheme = scheme_of(config.uri)
    if scheme == "v4l2":
        return _v4l2(config.uri)
    name = redact(config.uri)
    url = escape_credentials(config.uri)
    _check_host(url, name, scheme)
    read_us = str(round(config.read_timeout_s * 1e6))
    options = {"fflags": "nobuffer", "flags": "low_delay"}
    if scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_transport": config.rtsp_transport, "timeout": read_us}
        # Enough to see the size; the default waits for many frames to guess the rate.
        options |= {"fpsprobesize": "2"}
    else:
        options |= {"rw_timeout": read_us, "timeout": read_us}
    return Address(name, url, None, options, user_of(config.uri))


def explain(address: Address, error: MediaError, timeout_s: float) -> SourceError:
    """Turn a failed connection into the one line that a person can act on.

    Args:
        address: Where it failed.
        error: How it failed.
        timeout_s: The limit, for failures in time.
    """
    if error.kind == "unauthorized":
        what = (
            f"refused the user or the password (401); check both; {_ESCAPE}"
            if address.has_user
            else "asks for a user and password (401); give them as scheme://USER:PASSWORD@host/..."
        )
        return SourceError(f"{address.name}: the server {what}")
    if error.kind in ("network", "other") and not _resolves(address.url):
        return SourceError(f"{address.name}: the host name cannot be found; check it; {_ESCAPE}")
    texts = {
        "forbidden": "this user may not see the stream (403); check its rights",
        "not_found": "the server has no stream at this path (404); check the part after the host",
        "refused": "nothing answers at this host and port (connection refused); check the address "
        "and that the camera or server runs",
        "timeout": f"no answer within {timeout_s:g} s; check the address and the network, or raise "
        "source.open_timeout_s",
        "missing": "no such device or stream; check the name",
        "denied": "may not be opened; check the permissions",
        "not_media": "what answers there sends no video that can be decoded",
        "no_video": "the stream holds no video",
    }
    default = f"cannot be opened ({error.detail}); check the address and the network"
    return SourceError(f"{address.name}: {texts.get(error.kind, default)}")


def _check_host(url: str, name: str, scheme: str) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise UsageError(
            f"{name}: has no host or a wrong port; accepted is "
            f"{scheme}://[USER:PASSWORD@]HOST[:PORT]/PATH; {_ESCAPE}"
        )


def _resolves(url: str) -> bool:
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:
        return False
    return True


def _v4l2(uri: str) -> Address:
    parts = urlsplit(uri)
    device = parts.netloc + parts.path
    if not device.startswith("/dev/"):
        raise UsageError(f"{uri}: names no device; accepted is v4l2:///dev/video0")
    fields = dict(parse_qsl(parts.query, keep_blank_values=True))
    wrong = [key for key in fields if key not in _V4L2_FIELDS]
    if wrong:
        accepted = ", ".join(_V4L2_FIELDS)
        raise UsageError(f"{uri}: no such field {wrong[0]!r}; accepted are {accepted}")
    for key in ("width", "height", "fps"):
        if key in fields and not re.fullmatch(r"[1-9]\d*", fields[key]):
            raise UsageError(f"{uri}: {key}={fields[key]!r} is not a whole number above 0")
    if ("width" in fields) != ("height" in fields):
        raise UsageError(f"{uri}: width and height are given together or not at all")
    options = {_V4L2_FIELDS[key]: text for key, text in fields.items() if _V4L2_FIELDS[key]}
    if "width" in fields:
        options["video_size"] = f"{fields['width']}x{fields['height']}"
    return Address(uri, device, "v4l2", options)
