"""Serve the drawn film with its time code as live H.264 over RTSP, for `maskcast bench`.

    python tools/serve_clock.py [--width 640] [--height 480] [--fps 30] [--objects 8] [--seed 0]
        [--port 8554] [--path /clock] [--bitrate 3000] [--slow-encoder]
    maskcast bench configs/bench.yaml --source rtsp://127.0.0.1:8554/clock
        --sweep source.rtsp_transport=tcp,udp

Every frame is drawn with the time at which it was due, encoded (x264, zero latency), sent by
GStreamer's RTSP server, received and decoded by the run, and its time read back from the picture on
the tracker's side. Latency then counts encoder, network and decoder, without any clock in the
stream being believed. The server must run on the same machine: it is one monotonic clock.

`--slow-encoder` takes B-frames and lookahead, as cameras made for quality do; no time stamp of RTP
or RTCP shows what that costs, the picture does.

GStreamer's Python bindings belong to the system's Python, which serves; this one draws.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from typing import Any

SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
FAST = "tune=zerolatency speed-preset=ultrafast threads=1"
SLOW = "speed-preset=veryfast bframes=3 rc-lookahead=10 threads=1"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Serve the drawn film with its time code.")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=8554, help="0 takes a free one")
    parser.add_argument("--path", default="/clock")
    parser.add_argument("--bitrate", type=int, default=3000, help="kbit/s")
    parser.add_argument("--slow-encoder", action="store_true", help="B-frames and lookahead")
    parser.add_argument("--serve-stdin", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


# -- the side that draws ---------------------------------------------------------------------------


def draw(args: argparse.Namespace, arguments: list[str]) -> int:
    """Draw frames on their schedule into the pipe of the side that serves."""
    from stream.config import SourceConfig
    from stream.errors import MaskcastError
    from stream.frame import Frame
    from stream.sources.scheduled import ScheduledSource

    fields = ("width", "height", "fps", "objects", "seed")
    query = "&".join(f"{name}={getattr(args, name)}" for name in fields)
    try:
        source = ScheduledSource(SourceConfig(uri=f"clock://cells?{query}"))
        source.open()
    except MaskcastError as error:
        print(f"serve_clock: {error}", file=sys.stderr)
        return error.exit_status
    server = subprocess.Popen(
        [SYSTEM_PYTHON, os.path.abspath(__file__), "--serve-stdin", *arguments],
        stdin=subprocess.PIPE,
    )
    assert server.stdin is not None
    stop = threading.Event()
    try:
        while isinstance(frame := source.read(stop), Frame):
            server.stdin.write(frame.image.tobytes())
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    finally:
        server.terminate()
        server.wait()
    return server.returncode if server.returncode > 0 else 0


# -- the side that serves --------------------------------------------------------------------------


class Feed:
    """Passes each frame that comes in on to every pipeline that has a viewer."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sources: list[Any] = []
        self._lock = threading.Lock()

    def add(self, source: Any) -> None:
        """Begin to feed a pipeline's source."""
        with self._lock:
            self._sources.append(source)

    def remove(self, source: Any) -> None:
        """Feed it no more."""
        with self._lock:
            self._sources.remove(source)

    def run(self, ended: Any) -> None:
        """Read frames from stdin until it ends."""
        from gi.repository import Gst

        while len(data := sys.stdin.buffer.read(self._size)) == self._size:
            with self._lock:
                for source in self._sources:
                    buffer = Gst.Buffer.new_wrapped(data)
                    clock = source.get_clock()
                    if clock is not None:
                        buffer.pts = clock.get_time() - source.get_base_time()
                        source.emit("push-buffer", buffer)
        ended()


def serve(args: argparse.Namespace) -> int:
    """Serve what comes in on stdin."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import GLib, Gst, GstRtspServer
    except (ImportError, ValueError):
        print(f"serve_clock: GStreamer's RTSP server needs: {PACKAGES}", file=sys.stderr)
        return 2
    Gst.init(None)
    rate = f"{round(args.fps * 100)}/100"
    raw = f"video/x-raw,format=RGB,width={args.width},height={args.height},framerate={rate}"
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( appsrc name=src is-live=true format=time max-buffers=2 leaky-type=downstream "
        f'caps="{raw}" ! videoconvert ! video/x-raw,format=I420 '
        f"! x264enc {SLOW if args.slow_encoder else FAST} bitrate={args.bitrate} "
        f"key-int-max={max(1, round(args.fps))} "
        "! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )
    factory.set_shared(True)
    feed = Feed(args.width * args.height * 3)

    def configure(_: Any, media: Any) -> None:
        source = media.get_element().get_child_by_name("src")
        feed.add(source)
        media.connect("unprepared", lambda *_: feed.remove(source))

    factory.connect("media-configure", configure)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(args.port))
    server.get_mount_points().add_factory(args.path, factory)
    if not server.attach(None):
        print(f"serve_clock: port {args.port} cannot be bound; choose another", file=sys.stderr)
        return 1
    loop = GLib.MainLoop()
    threading.Thread(target=feed.run, args=(loop.quit,), daemon=True).start()
    print(f"ready rtsp://127.0.0.1:{server.get_bound_port()}{args.path}", flush=True)
    loop.run()
    return 0


def main() -> int:
    """Draw, or serve what is drawn; return the exit status."""
    arguments = sys.argv[1:]
    args = parse(arguments)
    return serve(args) if args.serve_stdin else draw(args, arguments)


if __name__ == "__main__":
    sys.exit(main())
