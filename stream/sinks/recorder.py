"""Records a run: `masks.jsonl`, `overlay.mp4` and `run.json` in a directory.

Everything written is readable at any moment, also after a SIGKILL or on a full disk.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from stream import wire
from stream.contracts import RunInfo
from stream.errors import SinkError
from stream.frame import Frame, Masks
from stream.sinks.jsonl import LineFile, to_line
from stream.sinks.overlay_video import MakeWriter, OverlayVideo, Policy, Writer

MASKS_FILE = "masks.jsonl"
RUN_FILE = "run.json"
DEFAULT_FPS = 25.0
CLOSE_TIMEOUT_S = 0.6


def _video_writer(path: Path, size: tuple[int, int], fps: float) -> Writer:
    from stream.av_io import VideoWriter  # Loads FFmpeg, which a run without video does not need.

    return VideoWriter(path, size, fps)


class RecorderSink:
    """Records into the directory, or into a new one below it where it holds a recording already.

    The first failure to write is raised once as a SinkError and ends the recording; later frames
    are then only counted, so a caller may let the run go on.

    Attributes:
        folder: Where the files are; final after `open`.
        counters: `recorded` lines, `recorded_video` frames, `recorder_behind` video frames left
            out, `not_recorded` frames after the recording failed.
    """

    name = "recorder"

    def __init__(
        self,
        folder: Path,
        stream: str,
        video: bool = True,
        fps: float | None = None,
        *,
        policy: Policy = "every",
        info: RunInfo | None = None,
        started: datetime | None = None,
        make_writer: MakeWriter = _video_writer,
    ) -> None:
        """Prepare; nothing is created yet.

        Args:
            folder: Directory to make or to use.
            stream: Name of the stream.
            video: Also record `overlay.mp4`.
            fps: Nominal frame rate; None where it is unknown.
            policy: `every` waits for the video encoder, `latest` leaves video frames out instead;
                no line of `masks.jsonl` is ever left out.
            info: What `run.json` says about the run.
            started: UTC time in the name of a new directory; None takes the time of `open`.
            make_writer: Opens a video file.
        """
        self.folder = folder
        self.counters = {
            "recorded": 0,
            "recorded_video": 0,
            "recorder_behind": 0,
            "not_recorded": 0,
        }
        self._stream = stream
        self._with_video = video
        self._fps = fps or (info.fps if info else None) or DEFAULT_FPS
        self._policy: Policy = policy
        self._info = info or RunInfo(stream=stream, source="", texts=[])
        self._started = started
        self._make_writer = make_writer
        self._lines: LineFile | None = None
        self._video: OverlayVideo | None = None
        self._failed = False
        self._late = False

    def open(self) -> None:
        """Make the directory and its files.

        Raises:
            SinkError: The directory cannot be made or written.
        """
        started = self._started or datetime.now(UTC)
        try:
            self.folder = _new_folder(self.folder, self._stream, started)
            self._lines = LineFile(self.folder / MASKS_FILE)
            (self.folder / RUN_FILE).write_bytes(self._describe(started))
        except OSError as error:
            self._stop()
            raise SinkError(
                f"{self.folder}: cannot record there: {error.strerror}; choose another record.dir"
            ) from error
        if self._with_video:
            self._video = OverlayVideo(self.folder, self._fps, self._policy, self._make_writer)

    def write(self, frame: Frame, masks: Masks) -> None:
        """Record one frame; its line is with the kernel when this returns.

        Raises:
            SinkError: The disk or the encoder refused; said once, then frames are only counted.
        """
        if self._failed:
            self.counters["not_recorded"] += 1
            return
        if self._lines is None:
            raise SinkError(f"{self.folder}: cannot record, the recorder is not open")
        message = wire.to_message(masks, self._stream)
        try:
            self._lines.write(to_line(message))
        except OSError as error:
            self.counters["not_recorded"] += 1
            self._fail(MASKS_FILE, error)
        self.counters["recorded"] += 1
        if self._video is not None:
            self._video.put(frame.rgb, masks)
            self._count_video()
            if self._video.error is not None:
                self._fail(self._video_name(), self._video.error)

    def close(self) -> None:
        """Finish the files.

        Raises:
            SinkError: The disk refused the end of a file, or the encoder did not finish in time.
        """
        failure = self._stop()
        if failure is not None and not self._failed:
            self._fail(*failure)
        if self._late and not self._failed:
            self._failed = True
            raise SinkError(
                f"{self.folder}: the video encoder did not finish within {CLOSE_TIMEOUT_S} s; "
                f"{self._readable()}"
            )

    def _stop(self) -> tuple[str, Exception] | None:
        """Close every file; return the first that refused, and why."""
        failure: tuple[str, Exception] | None = None
        if self._lines is not None:
            try:
                self._lines.close()
            except OSError as error:
                failure = (MASKS_FILE, error)
            self._lines = None
        if self._video is not None:
            self._late = not self._video.close(CLOSE_TIMEOUT_S)
            self._count_video()
            if failure is None and self._video.error is not None:
                failure = (self._video_name(), self._video.error)
            self._video = None
        return failure

    def _fail(self, file: str, error: Exception) -> None:
        self._failed = True
        self._stop()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SinkError(
            f"{self.folder / file}: cannot be written: {reason}; recording stopped, "
            f"{self._readable()}; free space or choose another record.dir"
        ) from error

    def _readable(self) -> str:
        masks = f"{self.counters['recorded']} frames in {MASKS_FILE} are complete and readable"
        if not self.counters["recorded_video"]:
            return masks
        return masks + ", overlay.mp4 is readable to about its last second"

    def _video_name(self) -> str:
        files = self._video.files if self._video is not None else []
        return files[-1].name if files else "overlay.mp4"

    def _count_video(self) -> None:
        if self._video is not None:
            self.counters["recorded_video"] = self._video.frames
            self.counters["recorder_behind"] = self._video.behind

    def _describe(self, started: datetime) -> bytes:
        about = {
            "v": wire.VERSION,
            "stream": self._stream,
            "source": self._info.source,
            "texts": self._info.texts,
            "model": self._info.model,
            "fps": self._fps,
            "live": self._info.live,
            "started_utc": started.isoformat(timespec="seconds"),
            "masks": MASKS_FILE,
            "video": "overlay.mp4" if self._with_video else None,
        }
        return msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n"


def _new_folder(folder: Path, stream: str, started: datetime) -> Path:
    """Return a directory that exists and holds no recording.

    Raises:
        OSError: It cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not _holds_recording(folder):
        return folder
    base = f"{stream}-{started.strftime('%Y%m%dT%H%M%SZ')}"
    number = 1
    while True:
        candidate = folder / (base if number == 1 else f"{base}-{number}")
        try:
            candidate.mkdir()
        except FileExistsError:
            number += 1
        else:
            return candidate


def _holds_recording(folder: Path) -> bool:
    return any((folder / name).exists() for name in (MASKS_FILE, RUN_FILE)) or any(
        folder.glob("overlay*.mp4")
    )
