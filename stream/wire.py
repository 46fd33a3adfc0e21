"""The published message: a pure codec, no sockets.

Topic `maskcast/<stream>`, two parts: the topic and one msgpack map with the fields of `Message`.
Version 1. A reader ignores fields that it does not know; a field is never given another meaning.
"""

from __future__ import annotations

import msgspec

from stream import rle
from stream.frame import Masks, State, TrackedObject

VERSION = 1
TOPIC_PREFIX = "maskcast/"


class Rle(msgspec.Struct, frozen=True):
    """COCO compressed run lengths of the frame-sized mask."""

    size: tuple[int, int]
    counts: bytes


class WireObject(msgspec.Struct, frozen=True, omit_defaults=True):
    """One object; `box` is x0, y0, x1, y1 in pixels, `area` counts mask pixels.

    `parent` is there where an object came of a division: the id of the one that divided.
    """

    id: int
    label: str
    score: float
    state: State
    box: tuple[int, int, int, int]
    area: int
    rle: Rle
    parent: int | None = None


class Message(msgspec.Struct, frozen=True):
    """One frame's masks as published; times ending in `_ns` are the publisher's monotonic clock."""

    v: int
    stream: str
    frame: int
    pts_s: float
    captured_ns: int
    published_ns: int
    size: tuple[int, int]
    objects: tuple[WireObject, ...]
    dropped: dict[str, int]
    stamps: dict[str, int]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def topic(stream: str) -> bytes:
    """Return the topic of a stream's messages."""
    return (TOPIC_PREFIX + stream).encode()


def to_message(masks: Masks, stream: str, published_ns: int = 0) -> Message:
    """Turn a result into its message; masks become run lengths."""
    objects = tuple(
        WireObject(
            id=item.id,
            label=item.label,
            score=round(float(item.score), 4),
            state=item.state,
            box=item.box,
            area=item.area,
            rle=Rle(masks.size, rle.encode(item.mask, item.box, masks.size)),
            parent=item.parent,
        )
        for item in masks.objects
    )
    return Message(
        v=VERSION,
        stream=stream,
        frame=masks.frame_index,
        pts_s=masks.pts_s,
        captured_ns=masks.captured_ns,
        published_ns=published_ns,
        size=masks.size,
        objects=objects,
        dropped=dict(masks.dropped),
        stamps=dict(masks.stamps),
    )


def to_masks(message: Message) -> Masks:
    """Turn a message back into a result; run lengths become masks."""
    objects = tuple(
        TrackedObject(
            id=item.id,
            label=item.label,
            score=item.score,
            state=item.state,
            mask=rle.decode_crop(item.rle.counts, item.box, message.size),
            box=item.box,
            area=item.area,
            parent=item.parent,
        )
        for item in message.objects
    )
    return Masks(
        frame_index=message.frame,
        size=message.size,
        pts_s=message.pts_s,
        captured_ns=message.captured_ns,
        objects=objects,
        stamps=dict(message.stamps),
        dropped=dict(message.dropped),
    )


def encode(message: Message) -> bytes:
    """Encode as msgpack."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """Decode and check a message.

    Raises:
        ValueError: Not a maskcast message, or of a version that this reader does not know.
    """
    try:
        message = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a maskcast message: {error}") from error
    if message.v != VERSION:
        raise ValueError(f"message version is {message.v}; this reader knows {VERSION}")
    return message
