"""Where the sockets of one run are: a private directory, names in one process, or loopback."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec
import zmq

from stream.errors import UsageError

Kind = Literal["ipc", "inproc", "tcp"]

LINGER_MS = 300
HIGH_WATER_MARK = 64
_PREFIX = "maskcast-"
_LOCK = "lock"
_MAX_PATH = 100  # sun_path holds 108 bytes, and the socket's own name comes on top


class Keys(msgspec.Struct, frozen=True):
    """One run's CURVE key pair; whoever has it belongs to the run."""

    public: bytes
    secret: bytes

    @classmethod
    def new(cls) -> Keys:
        """Make a fresh pair."""
        return cls(*zmq.curve_keypair())


class Place(msgspec.Struct, frozen=True):
    """Says where a run's sockets bind, and makes them. Stages get it from the supervisor."""

    kind: Kind
    directory: str
    """0700 directory of the sockets; with `inproc` only a name."""
    keys: Keys | None = None
    """For `tcp`, whose ports every user of the machine could reach."""

    @classmethod
    def make(cls, kind: Kind) -> Place:
        """Make the place of a new run, and clear away those of runs that were killed.

        Raises:
            UsageError: The directory for temporary files cannot be used for sockets.
        """
        if kind == "inproc":
            return cls(kind, f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}")
        sweep()
        try:
            directory = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
        except OSError as error:
            raise UsageError(f"no directory for temporary files: {error}; set TMPDIR") from error
        if len(directory) + len("/control") > _MAX_PATH:
            os.rmdir(directory)
            raise UsageError(
                f"{tempfile.gettempdir()} is too long a path for a socket (at most "
                f"{_MAX_PATH - 30} characters); set TMPDIR to a shorter one"
            )
        return cls(kind, directory, Keys.new() if kind == "tcp" else None)

    def hold(self) -> int | None:
        """Show to other runs that this one lives.

        Returns:
            A descriptor to keep open as long as it does; None where there is no directory.
        """
        if self.kind == "inproc":
            return None
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        fd = os.open(Path(self.directory) / _LOCK, flags, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return fd

    def remove(self) -> None:
        """Remove the directory and the sockets in it."""
        if self.kind != "inproc":
            shutil.rmtree(self.directory, ignore_errors=True)

    def socket(self, context: zmq.Context[Any], kind: int) -> zmq.Socket[Any]:
        """Make a socket whose queues and lingering are bounded."""
        socket: zmq.Socket[Any] = context.socket(kind)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        return socket

    def bind(self, context: zmq.Context[Any], link: str) -> tuple[zmq.Socket[Any], str]:
        """Bind a link's socket.

        Returns:
            The socket, and the endpoint for the other side.
        """
        socket = self.socket(context, zmq.DEALER)
        if self.kind == "tcp" and self.keys is not None:
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret)
        socket.bind("tcp://127.0.0.1:*" if self.kind == "tcp" else self.endpoint(link))
        return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def connect(self, context: zmq.Context[Any], endpoint: str) -> zmq.Socket[Any]:
        """Connect to a link's socket."""
        socket = self.socket(context, zmq.DEALER)
        if self.kind == "tcp" and self.keys is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, self.keys.public)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret)
        socket.connect(endpoint)
        return socket

    def endpoint(self, name: str) -> str:
        """Return the endpoint with a name inside this run; never `tcp`."""
        if self.kind == "inproc":
            return f"inproc://{self.directory}/{name}"
        return f"ipc://{self.directory}/{name}"


def sweep() -> None:
    """Remove the directories of this user's runs whose supervisor was killed and is gone."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        with contextlib.suppress(OSError):
            if path.is_dir() and path.lstat().st_uid == os.getuid() and _abandoned(path):
                shutil.rmtree(path, ignore_errors=True)


def _abandoned(path: Path) -> bool:
    """A lock tells, and not a process id: another container may share the directory."""
    try:
        fd = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
