"""What a run has to say besides its results: a log file for what only a defect report needs."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import TextIO

_IN_URL = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)\S*@")
_IN_QUERY = re.compile(r"(?i)([?&](?:pass(?:word|wd)?|pwd|user|token|key|secret|auth)=)[^&\s]+")
_KEEP = 20
_OURS = re.compile(r"run-\d{8}-\d{6}-\d+\.log")


def redact(text: str) -> str:
    """Take out what looks like credentials, whoever wrote the line."""
    return _IN_QUERY.sub(r"\1***", _IN_URL.sub(r"\1***@", text))


class RunLog:
    """The log file of one run: made with the first line, removed when nobody needs it.

    Attributes:
        path: Where it is, or will be.
    """

    def __init__(self, folder: Path | None = None) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        self.path = (folder or _folder()) / f"run-{stamp}-{os.getpid()}.log"
        self._file: TextIO | None = None
        self._lock = threading.Lock()
        self._closed = False

    def write(self, who: str, text: str) -> None:
        """Add lines; a disk that refuses them does not end a run."""
        with self._lock, contextlib.suppress(OSError):
            if self._closed:
                return
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
                self._file = os.fdopen(os.open(self.path, flags, 0o600), "a", encoding="utf-8")
            for line in text.splitlines():
                self._file.write(f"{who}: {redact(line)}\n")
            self._file.flush()

    def close(self, keep: bool) -> None:
        """Close, and remove unless it is to be kept; of old ones the last few stay."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._file = None
                with contextlib.suppress(OSError):
                    if not keep:
                        self.path.unlink()
                    logs = [p for p in self.path.parent.iterdir() if _OURS.fullmatch(p.name)]
                    for old in sorted(logs)[:-_KEEP]:
                        old.unlink()


def _folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = Path(state) / "maskcast"
    instead = Path(tempfile.gettempdir()) / f"maskcast-log-{os.getuid()}"
    if state.startswith("~"):
        return instead  # nobody knows where this user's home is
    for parent in (folder, *folder.parents):
        if parent.exists():
            return folder if os.access(parent, os.W_OK) else instead
    return instead
