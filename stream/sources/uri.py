"""Addresses: what kind a source is, and how to print it without its secrets."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

HIDDEN: Final = "***"

_SCHEME: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_SECRET: Final = re.compile(
    r"([/?&;_]|^)([^=/?&;]*?(?:us(?:e)?r|login|pass|pwd|psw|tok|key|secret|auth|sig|cred|sess|sid"
    r"|jwt|code|access|pw)[^=/?&;]*)=([^&;\s]*)",
    re.IGNORECASE,
)


def scheme_of(uri: str) -> str:
    """Return the scheme in lower case, or "" for a plain path."""
    found = _SCHEME.match(uri)
    return found[1].lower() if found else ""


def redact(uri: str) -> str:
    """Return an address that is safe to print.

    User, password and the values of query fields that look secret become `***`. In doubt more is
    hidden: a password may hold `@`, `/`, `#`, `:` and `?`, so everything up to the last `@` goes.
    """
    found = _SCHEME.match(uri)
    if not found or found[1].lower() in ("demo", "clock", "tiff", "v4l2"):
        return uri
    rest = uri[found.end() :]
    before, at, after = rest.rpartition("@")
    if at and (":" in before or "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]):
        rest = f"{HIDDEN}@{after}"
    return found[0] + _SECRET.sub(rf"\g<1>\g<2>={HIDDEN}", rest)


def user_of(uri: str) -> bool:
    """Tell whether an address carries a user or password of its own."""
    return redact(uri).find(f"//{HIDDEN}@") > 0


def escape_credentials(uri: str) -> str:
    """Return the address with user and password percent-encoded, as FFmpeg needs them.

    Where the part before the first `/` is no valid host and port, the last `@` ends the password.
    """
    found = _SCHEME.match(uri)
    if not found:
        return uri
    rest = uri[found.end() :]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        credentials, _, host = authority.rpartition("@")
        host += rest[len(authority) :]
    elif "@" in rest and re.fullmatch(r"[^:]+:(?!\d*$).*", authority):
        credentials, _, host = rest.rpartition("@")
    else:
        return uri
    user, colon, password = credentials.partition(":")
    return f"{found[0]}{_quoted(user)}{colon}{_quoted(password)}@{host}"


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="")
