"""The subscriber that the README shows, run as it stands against a real publisher."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from stream.sinks.publisher import PublisherSink

SNIPPET = """\
import msgspec, zmq
from pycocotools import mask
socket = zmq.Context().socket(zmq.SUB)
socket.connect("tcp://127.0.0.1:5560")
socket.subscribe("maskcast/")
while True:
    message = msgspec.msgpack.decode(socket.recv_multipart()[1])
    for item in message["objects"]:
        pixels = mask.decode(item["rle"])  # (H, W) uint8, 1 inside the object
        print(message["frame"], item["id"], item["label"], pixels.sum())
"""

README = Path(__file__).parents[2] / "README.md"


def test_the_snippet_prints_every_object(result, tmp_path):
    sink = PublisherSink("tcp://127.0.0.1:*", "main")
    sink.open()
    code = SNIPPET.replace("tcp://127.0.0.1:5560", sink.endpoint)
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env, cwd=tmp_path
    )
    done = threading.Event()

    def publish():
        frame, masks = result(7)
        while not done.wait(0.02):
            sink.write(frame, masks)

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(2)]
    finally:
        done.set()
        publisher.join()
        process.kill()
        process.wait()
        sink.close()
    areas = [str(item.area) for item in result(7)[1].objects]
    assert lines == [["7", "1", "cell", areas[0]], ["7", "2", "cell", areas[1]]]


def test_the_readme_shows_this_snippet():
    assert SNIPPET in README.read_text(encoding="utf-8")
