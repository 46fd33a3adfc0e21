"""What may be asked of a run while it goes on: JSON objects, told apart by `do`. A pure codec.

    {"do": "get"}                                               what is asked for now
    {"do": "set", "texts": ["cell"], "negatives": []}           everything anew
    {"do": "add", "text": "cell", "negative": false}
    {"do": "edit", "old": "cell", "new": "cell nucleus"}
    {"do": "remove", "text": "cell"}
    {"do": "prompt", "points": [[120, 80]], "labels": [1]}      a new object, in the last frame
    {"do": "prompt", "box": [10, 20, 50, 60], "frame": 812, "id": 3, "label": "cell"}
    {"do": "prompt", "box": [10, 20, 50, 60], "like": true}     more like this
    {"do": "forget", "id": 3}

Every answer is a `Reply`.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_BYTES = 1 << 20
MAX_POINTS = 256
Point = tuple[float, float]
Corners = tuple[float, float, float, float]


class Get(msgspec.Struct, frozen=True, tag_field="do", tag="get", forbid_unknown_fields=True):
    """Say what is asked for."""


class Set(msgspec.Struct, frozen=True, tag_field="do", tag="set", forbid_unknown_fields=True):
    """Ask for these and nothing else; None leaves that part as it is."""

    texts: tuple[str, ...] | None = None
    negatives: tuple[str, ...] | None = None


class Add(msgspec.Struct, frozen=True, tag_field="do", tag="add", forbid_unknown_fields=True):
    """Ask for one more text, or the phrases in it."""

    text: str
    negative: bool = False


class Edit(msgspec.Struct, frozen=True, tag_field="do", tag="edit", forbid_unknown_fields=True):
    """Put one text in the place of another."""

    old: str
    new: str
    negative: bool = False


class Remove(msgspec.Struct, frozen=True, tag_field="do", tag="remove", forbid_unknown_fields=True):
    """Ask for one text, or one exemplar, no more."""

    text: str
    negative: bool = False


class Mask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frame-sized mask as COCO compressed run lengths."""

    size: tuple[int, int]
    """H, W in pixels."""
    counts: str


class Prompt(msgspec.Struct, frozen=True, tag_field="do", tag="prompt", forbid_unknown_fields=True):
    """Say where an object is, in frame pixels: points, a box, a box with points, or a mask."""

    frame: int | None = None
    """Number of the frame as published; None: the last one."""
    id: int | None = None
    """The object that is corrected; None: a new one."""
    label: str | None = None
    points: tuple[Point, ...] = ()
    labels: tuple[int, ...] | None = None
    """1 inside, 0 outside; None: all inside."""
    box: Corners | None = None
    rle: Mask | None = None
    more: bool = False
    """Add the points to those said before about this frame."""
    like: bool = False
    """Find others like it, too."""


class Forget(msgspec.Struct, frozen=True, tag_field="do", tag="forget", forbid_unknown_fields=True):
    """End an object's track. One that the texts describe may be found again."""

    id: int


Request = Get | Set | Add | Edit | Remove | Prompt | Forget


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to every request."""

    ok: bool
    error: str = ""
    """One line; nothing was changed."""
    revision: int | None = None
    """Number of the question in force; grows with every change."""
    texts: tuple[str, ...] | None = None
    negatives: tuple[str, ...] | None = None
    exemplars: tuple[str, ...] | None = None
    id: int | None = None
    """The object that was prompted, or forgotten."""
    frame: int | None = None
    box: tuple[int, int, int, int] | None = None
    """x0, y0, x1, y1 in frame pixels."""
    area_px: int | None = None


_encoder = msgspec.json.Encoder()
_request: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_reply: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """Encode a request or a reply."""
    return _encoder.encode(message)


def decode_request(data: bytes) -> Request:
    """Decode and check a request.

    Raises:
        ValueError: Too large, or not a request; says what is wrong.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"the request has {len(data)} bytes; accepted are {MAX_BYTES}")
    try:
        request = _request.decode(data)
    except msgspec.ValidationError as error:
        raise ValueError(f"not a request: {error}; {_actions()}") from error
    except RecursionError as error:
        raise ValueError(f"not a request: it is nested too deeply; {_actions()}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a request: it is not JSON ({error}); {_actions()}") from error
    if isinstance(request, Prompt) and len(request.points) > MAX_POINTS:
        raise ValueError(f"{len(request.points)} points are too many; accepted are {MAX_POINTS}")
    return request


def decode_reply(data: bytes) -> Reply:
    """Decode a reply.

    Raises:
        ValueError: It is none.
    """
    try:
        return _reply.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a reply: {error}") from error


def _actions() -> str:
    kinds: Any = (Get, Set, Add, Edit, Remove, Prompt, Forget)
    return '"do" is one of ' + ", ".join(kind.__struct_config__.tag for kind in kinds)
