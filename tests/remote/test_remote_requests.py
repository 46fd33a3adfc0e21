"""Requests and replies as JSON, there and back, and what is refused."""

import json

import pytest

from stream.remote.requests import (
    MAX_BYTES,
    Add,
    Edit,
    Forget,
    Get,
    Mask,
    Prompt,
    Remove,
    Reply,
    Set,
    decode_reply,
    decode_request,
    encode,
)

REQUESTS = [
    Get(),
    Set(texts=("紅色的大狗",)),
    Add("dust", negative=True),
    Edit("cell", "cell nucleus"),
    Remove("cell"),
    Prompt(frame=8, id=3, label="a", points=((1.5, 2.0), (3.0, 4.0)), labels=(1, 0), more=True),
    Prompt(box=(1.0, 2.0, 3.0, 4.0), like=True),
    Prompt(rle=Mask((4, 6), "abc")),
    Forget(9),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: type(r).__name__)
def test_requests_come_back(request_):
    assert decode_request(encode(request_)) == request_


def test_a_request_is_what_a_person_would_write():
    told = {"do": "prompt", "points": [[120, 80]], "labels": [1], "frame": 812}
    assert decode_request(json.dumps(told).encode()) == Prompt(
        frame=812, points=((120.0, 80.0),), labels=(1,)
    )
    assert json.loads(encode(Edit("cell", "dog"))) == {
        "do": "edit", "old": "cell", "new": "dog", "negative": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff", ["not JSON", "get, set, add, edit, remove, prompt, forget"]),
        (b'{"do": "\xe2\x28"}', ["not a request", "not JSON"]),
        (b'{"a":' + b"[" * 200_000, ["not a request: it is nested too deeply"]),
        (b'{"do": "delete"}', ["'delete'", '"do" is one of get']),
        (b"[]", ["Expected `object`"]),
        (b'{"do": "add"}', ["missing required field `text`"]),
        (b'{"do": "add", "text": "a", "txt": "b"}', ["unknown field `txt`"]),
        (b'{"do": "prompt", "points": [[1]]}', ["$.points[0]"]),
        (b'{"do": "get", "x": "' + b"a" * MAX_BYTES + b'"}', [f"accepted are {MAX_BYTES}"]),
        (
            json.dumps({"do": "prompt", "points": [[0, 0]] * 257}).encode(),
            ["257 points are too many; accepted are 256"],
        ),
    ],
    ids=[
        "bytes",
        "utf8",
        "deep",
        "action",
        "list",
        "missing",
        "unknown",
        "point",
        "large",
        "points",
    ],
)
def test_what_is_no_request_is_told_why(data, words):
    with pytest.raises(ValueError, match=r"request|points") as found:
        decode_request(data)
    for word in words:
        assert word in str(found.value)


def test_replies_come_back_and_say_only_what_there_is():
    reply = Reply(True, revision=2, texts=("cell",), id=3, box=(1, 2, 3, 4), area_px=4)
    assert decode_reply(encode(reply)) == reply
    assert json.loads(encode(Reply(False, error="no"))) == {"ok": False, "error": "no"}
    with pytest.raises(ValueError, match="not a reply"):
        decode_reply(b"{}")
