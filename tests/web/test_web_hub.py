import asyncio
import io

import numpy as np
import pytest
from PIL import Image

from stream.contracts import RunInfo
from stream.web.app import pack, unpack
from stream.web.board import Board
from stream.web.hub import MAX_CLIENTS, MAX_SIDE_PX, Hub, to_jpeg

MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def hub(clock):
    return Hub(Board(RunInfo("main", "", ["cell"])), max_fps=15, jpeg_quality=80, clock_ns=clock)


def test_without_a_client_one_frame_a_second_is_kept_and_none_encoded(hub, clock, result):
    taken = set()
    for step in range(100):
        clock.now_ns = step * 100 * MS
        hub.offer(*result(step))
        taken.add(hub.newest.number)
    assert len(taken) == 10
    assert hub.encoded == 0


def test_a_waiting_client_gets_max_fps_and_no_more(hub, clock, result):
    hub._waiting = 1  # a client that is always ready
    for step in range(300):  # ten seconds at 30 fps
        clock.now_ns = step * 33_333_333 + (step % 3) * 2 * MS
        hub.offer(*result(step))
    assert 145 <= hub.newest.number <= 152


def test_a_view_keeps_its_own_pixels(hub, result):
    frame, masks = result(0)
    hub.offer(frame, masks)
    frame.image[:] = 255
    assert hub.newest.rgb[0, 0].tolist() == [80, 80, 80]


def test_waiting_ends_with_a_newer_view_a_timeout_or_the_end(hub, clock, result):
    async def scene():
        hub.attach(asyncio.get_running_loop())
        assert await hub.next(0, 0.01) is None
        waiting = asyncio.create_task(hub.next(0, 5))
        await asyncio.sleep(0)
        hub.offer(*result(0))
        view = await waiting
        assert view.number == 1
        waiting = asyncio.create_task(hub.next(view.number, 5))
        ended = asyncio.create_task(hub.until_closed())
        await asyncio.sleep(0)
        hub.finish()
        assert await waiting is None
        await ended

    asyncio.run(scene())


def test_one_encoding_serves_all_also_when_one_leaves(hub, result):
    async def scene():
        hub.attach(asyncio.get_running_loop())
        hub.offer(*result(0))
        first, second, third = (asyncio.create_task(hub.jpeg(hub.newest)) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == await third
        assert hub.encoded == 1

    asyncio.run(scene())
    hub.detach()


def test_the_number_of_clients_is_bounded(hub):
    assert all(hub.enter() for _ in range(MAX_CLIENTS))
    assert not hub.enter()
    hub.leave()
    assert hub.enter()


def test_a_picture_shows_the_overlay_and_big_ones_are_scaled(result):
    frame, masks = result(0, (96, 128))
    picture = Image.open(io.BytesIO(to_jpeg(frame.rgb, masks, 90)))
    pixels = np.asarray(picture).astype(int)
    assert (picture.format, picture.size) == ("JPEG", (128, 96))
    assert np.abs(pixels - 80).max() > 60
    frame, masks = result(0, (1000, 3200), objects=0)
    assert Image.open(io.BytesIO(to_jpeg(frame.rgb, masks, 80))).size == (MAX_SIDE_PX, 500)


def test_messages_in_both_directions():
    header = {"number": 3, "label": "紅色的大狗"}
    assert unpack(pack(header, b"\xff\xd8jpeg")) == (header, b"\xff\xd8jpeg")
