"""Take a picture of the live page in headless Chromium, after it has run for a while.

    maskcast run configs/demo.yaml &
    python tools/screenshot.py http://127.0.0.1:8080/ docs/demo.png --after 12

The page stays connected by a websocket, so the picture is asked for over Chromium's own protocol
instead of waiting for the page to fall silent.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from websockets.sync.client import connect

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]


def screenshot(url: str, path: Path, size: tuple[int, int], after_s: float, chromium: str) -> None:
    """Open a page, wait and write a PNG.

    Args:
        url: The page.
        path: Where the PNG goes.
        size: Width and height in pixels.
        after_s: Seconds between opening and the picture.
        chromium: The browser's executable.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [chromium, *FLAGS, f"--user-data-dir={profile}"]
        command += [f"--window-size={size[0]},{size[1]}", url]
        browser = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            port = _port(browser)
            time.sleep(after_s)
            with urlopen(f"http://127.0.0.1:{port}/json") as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
                socket.send(json.dumps({"id": 1, "method": "Page.captureScreenshot"}))
                data = json.loads(socket.recv())["result"]["data"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(data))
        finally:
            browser.kill()
            browser.wait()


def _port(browser: subprocess.Popen[str]) -> str:
    assert browser.stderr is not None
    for line in browser.stderr:
        if match := re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
            return match[1]
    raise SystemExit("Chromium ended before it listened")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("url")
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(1440, 900), metavar=("W", "H"))
    parser.add_argument("--after", type=float, default=10.0, help="seconds to wait")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args()
    screenshot(args.url, args.path, tuple(args.size), args.after, args.chromium)


if __name__ == "__main__":
    main()
