"""Recorded masks: one JSON line a frame, the published message with `counts` as ASCII text.

That is the form in which COCO JSON files hold compressed run lengths, so pycocotools reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from stream.errors import UsageError
from stream.wire import VERSION, Message, Rle, WireObject


class _TextRle(msgspec.Struct, frozen=True):
    size: tuple[int, int]
    counts: str


class _TextObject(msgspec.Struct, frozen=True, omit_defaults=True):
    id: int
    label: str
    score: float
    state: str
    box: tuple[int, int, int, int]
    area: int
    rle: _TextRle
    parent: int | None = None


class _TextMessage(msgspec.Struct, frozen=True):
    v: int
    stream: str
    frame: int
    pts_s: float
    captured_ns: int
    published_ns: int
    size: tuple[int, int]
    objects: tuple[_TextObject, ...]
    dropped: dict[str, int]
    stamps: dict[str, int]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_TextMessage)


def to_line(message: Message) -> bytes:
    """Return a message as one line of JSON, with its newline."""
    objects = tuple(
        _TextObject(
            id=item.id,
            label=item.label,
            score=item.score,
            state=item.state,
            box=item.box,
            area=item.area,
            rle=_TextRle(item.rle.size, item.rle.counts.decode("ascii")),
            parent=item.parent,
        )
        for item in message.objects
    )
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return _encoder.encode(_TextMessage(**{**fields, "objects": objects})) + b"\n"


def from_line(line: bytes) -> Message:
    """Return the message of a line.

    Raises:
        ValueError: Not a recorded message, or of a version that this reader does not know.
    """
    try:
        text = _decoder.decode(line)
        objects = tuple(
            msgspec.convert(
                {
                    **{name: getattr(item, name) for name in item.__struct_fields__},
                    "rle": Rle(item.rle.size, item.rle.counts.encode("ascii")),
                },
                WireObject,
            )
            for item in text.objects
        )
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeEncodeError) as error:
        raise ValueError(f"not a recorded message: {error}") from error
    if text.v != VERSION:
        raise ValueError(f"message version is {text.v}; this reader knows {VERSION}")
    fields = {name: getattr(text, name) for name in text.__struct_fields__}
    return Message(**{**fields, "objects": objects})


def read_recording(path: Path | str) -> Iterator[Message]:
    """Read the recorded messages in order.

    A last line that was torn, because the machine or the disk failed while it was written, is
    left out.

    Args:
        path: `masks.jsonl`, or the directory that holds it.

    Raises:
        UsageError: No such file, or a line that is not the last one is damaged.
    """
    path = Path(path)
    file = path / "masks.jsonl" if path.is_dir() else path
    try:
        with file.open("rb") as lines:
            number, line = 0, b""
            for number, following in enumerate(lines):
                if number:
                    yield _checked(file, number, line)
                line = following
            if line.endswith(b"\n"):
                try:
                    last = from_line(line)
                except ValueError:
                    return
                yield last
    except OSError as error:
        raise UsageError(f"{file}: cannot read the recording: {error.strerror}") from error


def _checked(file: Path, number: int, line: bytes) -> Message:
    try:
        return from_line(line)
    except ValueError as error:
        raise UsageError(f"{file} line {number}: {error}") from error


class LineFile:
    """A new file of lines; each is with the kernel when `write` returns, so a SIGKILL loses none.

    Attributes:
        lines: Complete lines written.
    """

    def __init__(self, path: Path) -> None:
        """Create the file.

        Raises:
            FileExistsError: It is there already; it is not touched.
            OSError: It cannot be created.
        """
        self.path = path
        self.lines = 0
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor: int | None = os.open(path, flags, 0o644)

    def write(self, line: bytes) -> None:
        """Append a line, whole or not at all.

        Raises:
            OSError: The disk refused; what the file held before is as it was.
        """
        if self._descriptor is None:
            raise ValueError(f"{self.path} is closed")
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise
        self._size += len(line)
        self.lines += 1

    def close(self) -> None:
        """Close; some file systems report a full disk only here.

        Raises:
            OSError: The disk refused what was written last.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
