"""A real RTSP server for tests: GStreamer's, looping a film for ever as live H.264.

As a script (GStreamer's Python bindings belong to the system's Python, so it changes over to it):

    python tests/support/rtsp_server.py --file film.mp4 --port 8554 --path /film
        [--user U --password W] [--fps 10]

It prints `ready rtsp://127.0.0.1:8554/film` once it serves; `--port 0` takes a free one.
As a module it gives `RtspServer`, which runs that script and can kill, stall and start it again.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav python3-gi"
)
_PROBE = (
    "import gi; [gi.require_version(name, '1.0') for name in ('Gst', 'GstRtspServer')]; "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "raise SystemExit(0 if all(map(Gst.ElementFactory.find, "
    "['x264enc', 'rtph264pay', 'avdec_h264', 'qtdemux', 'appsrc'])) else 1)"
)


def why_not() -> str | None:
    """Why the server cannot run here, or None when it can."""
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", _PROBE], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{SYSTEM_PYTHON}: {error}"
    return None if done.returncode == 0 else f"GStreamer's RTSP server needs: {PACKAGES}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RtspServer:
    """The server as a process of its own; a context manager."""

    def __init__(
        self,
        film: Path,
        *,
        path: str = "/film",
        fps: float = 10.0,
        user: str | None = None,
        password: str = "",
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}{path}"
        self._command = [sys.executable, str(Path(__file__)), "--file", str(film)]
        self._command += ["--port", str(self.port), "--path", path, "--fps", str(fps)]
        if user is not None:
            self._command += ["--user", user, "--password", password]
        self._process: subprocess.Popen[str] | None = None

    def start(self, timeout_s: float = 30.0) -> None:
        """Start and wait until it serves."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        line = self._process.stdout.readline() if ready else ""
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"the RTSP server did not start: {line!r}")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
        self._process = None

    def stall(self) -> None:
        """Make it hang with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> RtspServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _decode(film: str) -> tuple[Any, list[Any]]:
    """All frames of a film as raw buffers, and their caps."""
    from gi.repository import Gst

    pipeline = Gst.parse_launch(
        "filesrc name=src ! decodebin ! videoconvert ! video/x-raw,format=I420 "
        "! appsink name=out sync=false max-buffers=4"
    )
    pipeline.get_by_name("src").set_property("location", film)
    out = pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    caps, frames = None, []
    while True:
        sample = out.emit("pull-sample")
        if sample is None:
            break
        caps = sample.get_caps()
        buffer = sample.get_buffer()
        frames.append(buffer.extract_dup(0, buffer.get_size()))
    pipeline.set_state(Gst.State.NULL)
    if not frames:
        raise SystemExit(f"{film}: no frames could be decoded")
    return caps, frames


def _factory(caps: Any, frames: list[Any], fps: float) -> Any:
    """A media factory that pushes the frames round and round on the wall clock."""
    from gi.repository import GLib, Gst, GstRtspServer

    structure = caps.get_structure(0)
    width, height = structure.get_value("width"), structure.get_value("height")
    raw = f"video/x-raw,format=I420,width={width},height={height},framerate={round(fps * 100)}/100"
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( appsrc name=src is-live=true format=time caps="{raw}" '
        "! x264enc tune=zerolatency speed-preset=ultrafast threads=1 bitrate=3000 "
        f"key-int-max={max(1, round(fps))} ! video/x-h264,profile=baseline "
        "! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )
    factory.set_shared(True)

    def configure(_: Any, media: Any) -> None:
        source = media.get_element().get_child_by_name("src")
        begun = time.monotonic()
        state = {"open": True}

        def push() -> bool:
            if not state["open"]:
                return False
            frame = frames[round((time.monotonic() - begun) * fps) % len(frames)]
            buffer = Gst.Buffer.new_wrapped(frame)
            # A camera stamps on its own grid, however late the buffer is handed on.
            elapsed_ns = source.get_clock().get_time() - source.get_base_time()
            buffer.pts = round(elapsed_ns * fps / 1e9) * round(1e9 / fps)
            source.emit("push-buffer", buffer)
            return True

        GLib.timeout_add(round(1000 / fps), push)
        media.connect("unprepared", lambda *_: state.update(open=False))

    factory.connect("media-configure", configure)
    return factory


def _protect(server: Any, factory: Any, user: str, password: str) -> None:
    from gi.repository import GstRtspServer

    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", right, True)
    factory.set_permissions(permissions)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a film over RTSP, looped, as live H.264.")
    parser.add_argument("--file", required=True)
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--path", default="/film")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    args = parser.parse_args()
    if not os.path.isfile(args.file):
        raise SystemExit(f"{args.file}: no such file")
    try:
        import gi
    except ImportError:
        if os.path.realpath(sys.executable) == os.path.realpath(SYSTEM_PYTHON):
            raise SystemExit(f"GStreamer's RTSP server needs: {PACKAGES}") from None
        os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, *sys.argv])
    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(args.port))
    factory = _factory(*_decode(args.file), args.fps)
    if args.user is not None:
        _protect(server, factory, args.user, args.password)
    server.get_mount_points().add_factory(args.path, factory)
    if not server.attach(None):
        raise SystemExit(f"port {args.port} cannot be bound")
    print(f"ready rtsp://127.0.0.1:{server.get_bound_port()}{args.path}", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
