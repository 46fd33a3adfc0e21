"""Compressed video in and out. The one file that imports PyAV; a leaf.

FFmpeg prints nothing here and its messages never leave this file, because they carry the address
with its credentials: a failure arrives as a `MediaError` with a kind and words of our own.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import av
import av.error
import av.logging
import numpy as np
import numpy.typing as npt

av.logging.set_level(None)

MediaErrorKind = Literal[
    "missing", "denied", "not_media", "no_video", "damaged", "timeout", "unauthorized",
    "forbidden", "not_found", "refused", "network", "other",
]  # fmt: skip
Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_TICKS_PER_S: Final = 90_000
_GIVE_UP_AFTER: Final = 200
"""Packets in a row that cannot even be read before a file counts as ended."""
_TIMELESS: Final = ("mpjpeg", "mjpeg", "image2pipe", "jpeg_pipe")
_TEXT_CODECS: Final = ("ansi", "bintext", "xbin", "idf")
"""FFmpeg would draw any text file as a terminal."""
_WIDE_GRAY: Final = ("gray9le", "gray10le", "gray12le", "gray14le", "gray16le")
_KINDS: Final[tuple[tuple[type[Exception], MediaErrorKind], ...]] = (
    (av.error.HTTPUnauthorizedError, "unauthorized"),
    (av.error.HTTPForbiddenError, "forbidden"),
    (av.error.HTTPNotFoundError, "not_found"),
    (av.error.HTTPError, "network"),
    (av.error.ExitError, "timeout"),
    (TimeoutError, "timeout"),
    (ConnectionRefusedError, "refused"),
    (FileNotFoundError, "missing"),
    (PermissionError, "denied"),
    (av.error.InvalidDataError, "not_media"),
    (OSError, "network"),
)


class MediaError(Exception):
    """Reading failed.

    Attributes:
        kind: What failed, for the caller to put into words; `damaged` may be read past.
    """

    def __init__(self, kind: MediaErrorKind, detail: str = "") -> None:
        self.kind: MediaErrorKind = kind
        self.detail = detail
        super().__init__(f"{kind}: {detail}" if detail else kind)


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture."""

    image: Pixels
    """(H, W, 3) uint8 RGB, or (H, W) uint8 or uint16 for gray video."""
    pts_s: float | None
    """Seconds on the stream's own clock; None where the stream does not say."""


class VideoInput:
    """The first video stream of a file, an address or a device; open once made.

    Args:
        url: What FFmpeg opens.
        container_format: FFmpeg input format, for devices.
        options: FFmpeg options.
        timeout_s: (open, read) limits in seconds; None waits for ever.
        wait_for_keyframe: Throw away packets before the first keyframe.

    Attributes:
        fps: Nominal frame rate; None where the stream does not say.
        frames_total: Number of frames; None where the container does not say.
        duration_s: Length in seconds; None for live streams.
        before_keyframe: Packets thrown away so far while waiting for a keyframe.
        draining: The last packet was read; what comes now was held back by the decoder.

    Raises:
        MediaError: It cannot be opened or holds no video.
    """

    def __init__(
        self,
        url: str,
        *,
        container_format: str | None = None,
        options: Mapping[str, str] | None = None,
        timeout_s: tuple[float, float] | None = None,
        wait_for_keyframe: bool = False,
    ) -> None:
        begun_s = time.monotonic()
        try:
            self._container = av.open(
                url, format=container_format, options=dict(options or {}), timeout=timeout_s
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            # A server that accepts and then says nothing is reported as invalid data.
            if timeout_s and time.monotonic() - begun_s >= 0.95 * timeout_s[0]:
                raise MediaError("timeout") from None
            raise _media_error(error) from None
        if not self._container.streams.video:
            self._container.close()
            raise MediaError("no_video")
        stream = self._container.streams.video[0]
        if stream.codec_context.name in _TEXT_CODECS:
            self._container.close()
            raise MediaError("not_media")
        # Frame threads would hold back a picture for each thread.
        stream.thread_type = "SLICE"
        if wait_for_keyframe:
            stream.codec_context.flags |= av.codec.context.Flags.low_delay.value
        rate = stream.average_rate or stream.guessed_rate
        length = self._container.duration
        self.fps = float(rate) if rate and 0 < rate <= 1000 else None
        self.frames_total = int(stream.frames) or None
        self.duration_s = length / 1e6 if length and length > 0 else None
        self.before_keyframe = 0
        self.draining = False
        self._waiting = wait_for_keyframe
        # FFmpeg invents 25 frames per second for these, whatever rate they come at.
        self._timeless = self._container.format.name in _TIMELESS
        self._stream: Any = stream
        self._packets: Iterator[Any] = self._container.demux(stream)
        self._unreadable = 0

    def read(self) -> list[Picture] | None:
        """Decode the next packet.

        Returns:
            Its pictures, often one, sometimes none; None at the end of the stream.

        Raises:
            MediaError: Kind `damaged`: this packet gave nothing, the next one may. Any other
                kind: nothing more can be read.
        """
        try:
            packet = next(self._packets)
        except StopIteration:
            return None
        except (av.error.FFmpegError, OSError) as error:
            return self._after_unreadable(_media_error(error))
        self._unreadable = 0
        self.draining = not packet.size
        if self._waiting and packet.size:
            if not packet.is_keyframe:
                self.before_keyframe += 1
                return []
            self._waiting = False
        return self._decode(packet)

    def close(self) -> None:
        """Free everything; may be called twice."""
        self._packets = iter(())
        self._container.close()

    def _decode(self, packet: Any) -> list[Picture]:
        try:
            frames = packet.decode()
            pictures = [self._picture(frame) for frame in frames if not frame.is_corrupt]
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise MediaError("damaged", _words(error)) from None
        if len(pictures) < len(frames) and not pictures:
            raise MediaError("damaged", "incomplete picture")
        return pictures

    def _picture(self, frame: Any) -> Picture:
        timeless = self._timeless or frame.time is None
        return Picture(_pixels(frame), None if timeless else float(frame.time))

    def _after_unreadable(self, error: MediaError) -> list[Picture] | None:
        if error.kind != "not_media":
            raise error
        self._unreadable += 1
        if self._unreadable > _GIVE_UP_AFTER:
            return None
        # A generator that raised is finished; a new one goes on at the same place.
        self._packets = self._container.demux(self._stream)
        raise MediaError("damaged", error.detail)


class VideoWriter:
    """An H.264 film in fragments of about a second, readable even when it was never closed.

    Args:
        path: File to write, an existing one is replaced; `.mp4`.
        size: (H, W) in pixels; an odd side is padded by one row or column.
        fps: Nominal rate; times come with the frames.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, path: Path | str, size: tuple[int, int], fps: float) -> None:
        self._path = str(path)
        self._size = size
        height, width = size
        flags = "frag_keyframe+empty_moov+default_base_moof"
        options = {"movflags": flags, "flush_packets": "1"}
        self._disk = _Disk(self._path)
        self._container: Any = av.open(self._disk, "w", format="mp4", options=options)
        rate = Fraction(max(fps, 0.1)).limit_denominator(1000)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(1, round(fps))
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        stream.options = {"preset": "superfast", "tune": "zerolatency", "crf": "23", "threads": "1"}
        self._stream = stream
        self._first_s: float | None = None
        self._last_tick = -1
        self._closed = False

    def write(self, rgb: npt.NDArray[np.uint8], pts_s: float) -> None:
        """Encode one frame.

        Args:
            rgb: (H, W, 3) uint8 of the size given at the start.
            pts_s: Time in seconds; the first one becomes 0, one that goes back follows at once.

        Raises:
            ValueError: Another size or dtype.
            OSError: The disk is full or failed; what was written stays readable.
        """
        height, width = self._size
        if rgb.shape != (height, width, 3) or rgb.dtype != np.uint8:
            raise ValueError(
                f"frame is {rgb.dtype} {rgb.shape}; the film takes uint8 {(height, width, 3)}"
            )
        if height % 2 or width % 2:
            rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._first_s is None:
            self._first_s = pts_s
        tick = max(round((pts_s - self._first_s) * _TICKS_PER_S), self._last_tick + 1)
        self._last_tick = tick
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS_PER_S)
        self._write(frame)

    def close(self) -> None:
        """Finish the file; may be called twice.

        Raises:
            OSError: The disk failed, and `write` has not said so before; the file is closed all
                the same.
        """
        if self._closed:
            return
        self._closed = True
        failed_before = self._disk.error is not None
        try:
            if self._last_tick >= 0 and not failed_before:
                self._write(None)
        finally:
            self._container.close()
            self._disk.close()
        if self._disk.error and not failed_before:
            raise self._disk.error

    def _write(self, frame: Any) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except av.error.FFmpegError as error:
            number = error.errno if 0 < error.errno < 4096 else errno.EIO
            raise OSError(number, os.strerror(number), self._path) from None
        if self._disk.error:
            raise self._disk.error


class _Disk:
    """A file for FFmpeg that keeps the first failure; FFmpeg forgets the ones at the end."""

    def __init__(self, path: str) -> None:
        self.error: OSError | None = None
        self._path = path
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115

    def write(self, data: bytes) -> int:
        """Write all of it, or nothing any more after a failure: what is there stays readable."""
        left = memoryview(data)
        try:
            while left and not self.error:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.error = OSError(error.errno, error.strerror, self._path)
        return len(data)

    def close(self) -> None:
        """Close the file; a failure is kept like any other."""
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or OSError(error.errno, error.strerror, self._path)


def _pixels(frame: Any) -> Pixels:
    name = frame.format.name
    if name in _WIDE_GRAY:
        image: Pixels = _plane(frame, 2).view("<u2").astype(np.uint16)
    elif name == "gray":
        image = _plane(frame, 1)
    else:
        image = frame.to_ndarray(format="rgb24")
    turns = frame.rotation // 90 % 4
    if turns:
        turned: Any = np.rot90(image, turns)
        image = np.ascontiguousarray(turned)
    return image


def _plane(frame: Any, bytes_per_px: int) -> npt.NDArray[np.uint8]:
    """First plane as bytes, (H, line size), cut to whole pixels."""
    plane = frame.planes[0]
    lines = np.frombuffer(plane, dtype=np.uint8).reshape(frame.height, plane.line_size)
    return np.ascontiguousarray(lines[:, : frame.width * bytes_per_px])


def _media_error(error: Exception) -> MediaError:
    for cls, kind in _KINDS:
        if isinstance(error, cls):
            return MediaError(kind, _words(error))
    return MediaError("other", _words(error))


def _words(error: Exception) -> str:
    """FFmpeg's words without the address that `str(error)` would add."""
    return str(getattr(error, "strerror", None) or type(error).__name__)


def describe() -> str:
    """Return one line about the video libraries; raises when they cannot be loaded."""
    codecs = [name for name in ("h264", "hevc", "mjpeg") if name in av.codecs_available]
    return f"PyAV {av.__version__}, decodes {', '.join(codecs)}"
