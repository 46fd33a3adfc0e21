from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from stream import wire
from stream.frame import Masks, TrackedObject


def result() -> Masks:
    mask = np.array([[True, False], [True, True]])
    objects = (
        TrackedObject(3, "紅色的大狗", 0.75, "confirmed", mask, (4, 5, 6, 7), 3),
        TrackedObject(9, "cell", 0.5, "hidden", np.zeros((0, 0), bool), (0, 0, 0, 0), 0),
    )
    return Masks(12, (10, 20), 0.4, 123, objects, {"encoded": 5}, {"overrun": 2})


def test_a_result_survives_the_way_there_and_back() -> None:
    message = wire.decode(wire.encode(wire.to_message(result(), "main", 456)))
    again = wire.to_masks(message)
    assert (message.v, message.stream, message.published_ns) == (1, "main", 456)
    assert (again.frame_index, again.size, again.pts_s, again.captured_ns) == (
        12,
        (10, 20),
        0.4,
        123,
    )
    assert (again.stamps, again.dropped) == ({"encoded": 5}, {"overrun": 2})
    for ours, theirs in zip(again.objects, result().objects, strict=True):
        assert (ours.id, ours.label, ours.state, ours.box) == (
            theirs.id,
            theirs.label,
            theirs.state,
            theirs.box,
        )
        assert (ours.mask == theirs.mask).all()


def test_the_map_has_the_documented_keys() -> None:
    data = msgspec.msgpack.decode(wire.encode(wire.to_message(result(), "main")))
    assert list(data) == [
        "v", "stream", "frame", "pts_s", "captured_ns", "published_ns", "size", "objects",
        "dropped", "stamps",
    ]  # fmt: skip
    assert list(data["objects"][0]) == ["id", "label", "score", "state", "box", "area", "rle"]
    assert list(data["objects"][0]["rle"]) == ["size", "counts"]


def test_a_daughter_names_her_mother_and_nothing_else_changes() -> None:
    mine, other = result().objects
    daughter = dataclasses.replace(mine, parent=2)
    sent = dataclasses.replace(result(), objects=(daughter, other))
    data = wire.encode(wire.to_message(sent, "main"))
    keys = [list(item) for item in msgspec.msgpack.decode(data)["objects"]]
    assert set(keys[0]) - set(keys[1]) == {"parent"}
    assert [item.parent for item in wire.to_masks(wire.decode(data)).objects] == [2, None]


def test_other_data_and_other_versions_are_refused() -> None:
    with pytest.raises(ValueError, match="not a maskcast message"):
        wire.decode(b"\x93\x01\x02\x03")
    message = msgspec.structs.replace(wire.to_message(result(), "main"), v=7)
    with pytest.raises(ValueError, match="message version is 7; this reader knows 1"):
        wire.decode(wire.encode(message))


def test_unknown_fields_are_ignored() -> None:
    data = msgspec.msgpack.decode(wire.encode(wire.to_message(result(), "main")))
    assert wire.decode(msgspec.msgpack.encode(data | {"new_field": 1})).frame == 12


def test_the_topic_names_the_stream() -> None:
    assert wire.topic("cam-2") == b"maskcast/cam-2"
