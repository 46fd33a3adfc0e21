"""`maskcast ask`: options to requests, replies to lines and statuses."""

import json
import threading
import time

import numpy as np
import pytest
import zmq
from PIL import Image

from stream import rle
from stream.cli import main
from stream.remote import DEFAULT_ENDPOINT, Door, Reply
from stream.remote.requests import Add, Edit, Forget, Get, Prompt, Remove


@pytest.fixture
def asked(capsys):
    """Run the command against a door that answers with given replies.

    Returns:
        A function from arguments and replies to status, standard output, error lines, requests.
    """
    context = zmq.Context()
    door = Door(context, "tcp://127.0.0.1:*")

    def run(*arguments, replies=None):
        requests, ended = [], threading.Event()
        left = list(replies or [])

        def work():
            while not ended.is_set():
                for client, request in door.receive():
                    requests.append(request)
                    door.reply(client, left.pop(0) if left else Reply(True, texts=("cell",)))
                time.sleep(0.002)

        thread = threading.Thread(target=work)
        thread.start()
        with pytest.raises(SystemExit) as end:
            main(["ask", door.endpoint, *map(str, arguments)])
        ended.set()
        thread.join()
        out, err = capsys.readouterr()
        return end.value.code, out.splitlines(), err.splitlines(), requests

    yield run
    door.close()
    context.destroy(0)


def test_without_options_it_says_what_is_looked_for(asked):
    reply = Reply(
        True, revision=1, texts=("cell", "紅色的大狗"), negatives=(), exemplars=("a blob",)
    )
    status, out, _, requests = asked(replies=[reply])
    assert (status, requests) == (0, [Get()])
    assert out == ["texts: 'cell', '紅色的大狗'", "negatives: none", "exemplars: 'a blob'"]


def test_everything_that_is_asked_is_sent_in_order(asked):
    status, _, _, requests = asked(
        *("--add", "dog", "--add", "a cat", "--add-negative", "wall", "--edit", "cell", "nucleus"),
        *("--remove", "dust", "--remove-negative", "sky", "--forget", 4),
    )
    assert status == 0
    assert requests == [
        Add("dog"),
        Add("a cat"),
        Add("wall", negative=True),
        Edit("cell", "nucleus"),
        Remove("dust"),
        Remove("sky", negative=True),
        Forget(4),
    ]


def test_a_prompt_is_one_request(asked):
    reply = Reply(True, texts=("cell",), id=3, frame=8, box=(1, 2, 3, 4), area_px=12)
    status, out, _, requests = asked(
        *("--click", "3,4.5", "--outside", "7,8", "--box", "0,1,20,30"),
        *("--frame", 8, "--id", 3, "--label", "it", "--more", "--like", "--json"),
        replies=[reply],
    )
    assert status == 0
    assert requests == [
        Prompt(
            8, 3, "it", ((3.0, 4.5), (7.0, 8.0)), (1, 0), (0.0, 1.0, 20.0, 30.0), None, True, True
        )
    ]
    assert json.loads(out[0])["area_px"] == 12


def test_a_mask_is_read_from_an_image(asked, tmp_path):
    mask = np.zeros((6, 9), np.uint8)
    mask[2:5, 3:7] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    _, _, _, (request,) = asked("--mask", tmp_path / "m.png")
    assert (rle.decode_foreign(request.rle.counts.encode(), request.rle.size) == mask / 255).all()


def test_a_refusal_is_one_line_and_status_2_and_ends_the_list(asked):
    replies = [Reply(True, texts=("a",)), Reply(False, error="'dog' is not among the texts")]
    status, out, err, requests = asked(
        "--add", "a", "--remove", "dog", "--forget", 1, replies=replies
    )
    assert (status, out) == (2, [])
    assert err == ["maskcast: 'dog' is not among the texts"]
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--click", "3"), "--click '3' is not accepted; it must be X,Y, in frame pixels"),
        (("--click", "nan,3"), "--click 'nan,3' is not accepted"),
        (("--add", "\udcff"), "is not accepted; it must be valid UTF-8"),
        (("--box", "1,2,3,x"), "it must be X0,Y0,X1,Y1"),
        (("--like",), "are about a prompt; give --click X,Y"),
        (("--mask", "nothing.png"), "nothing.png cannot be read as an image"),
    ],
)
def test_what_cannot_be_asked_is_not_sent(asked, arguments, words):
    status, _, (line,), requests = asked(*arguments)
    assert (status, requests) == (2, [])
    assert words in line


def test_nobody_there_is_status_1(capsys):
    with pytest.raises(SystemExit) as end:
        main(["ask", "tcp://127.0.0.1:9", "--timeout", "0.05"])
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "nobody answers at tcp://127.0.0.1:9" in line


def test_it_asks_where_a_run_listens(capsys):
    with pytest.raises(SystemExit):
        main(["ask", "--help"])
    assert DEFAULT_ENDPOINT in capsys.readouterr().out
