"""People talk to a run while it goes on."""

import threading

import pytest

from stream.errors import MaskcastError
from stream.pipeline import Observer
from stream.remote import Client
from stream.remote.requests import Add, Forget, Get, Prompt, Remove


class Visitor(Observer):
    """Asks a running pipeline from a thread, once it runs; what the stages note is kept."""

    def __init__(self, endpoint, requests):
        self.endpoint, self.requests = endpoint, requests
        self.replies, self.notes = [], []
        self.thread = None

    def started(self, snapshot):
        self.thread = threading.Thread(target=self._visit)
        self.thread.start()

    def note(self, stage, text):
        self.notes.append((stage, text))

    def _visit(self):
        with Client(self.endpoint, 5.0) as client:
            self.replies += [client.ask(request) for request in self.requests]


@pytest.mark.parametrize("kind", ["inproc", "ipc", "tcp"])
def test_what_is_asked_reaches_the_core_and_is_answered(run_fake, around, kind):
    endpoint = f"ipc://{around}/door"
    visitor = Visitor(
        endpoint,
        [
            Get(),
            Add("a dog. a cat"),
            Remove("mouse"),
            Prompt(points=((3.0, 4.0),), label="it"),
            Prompt(box=(1.0, 1.0, 2.0, 2.0)),
            Prompt(points=((5.0, 6.0),), like=True),
            Forget(7),
        ],
    )
    config = {"control": {"endpoint": endpoint}, "texts": ["square"]}
    report, _, _ = run_fake("fake://squares?live=1&fps=50&frames=150", kind, visitor, config)
    visitor.thread.join()
    assert report.errors == []
    told, added, unknown, done, refused, shown, gone = visitor.replies
    assert (told.texts, told.revision) == (("square",), 0)
    assert (added.texts, added.revision) == (("square", "a dog", "a cat"), 1)
    assert "'mouse' is not among the texts" in unknown.error
    assert (done.id, done.frame, done.box, done.area_px) == (7, 3, (1, 2, 3, 4), 12)
    assert (refused.ok, refused.error) == (False, "click on something")
    assert shown.exemplars == ("like this 1",)
    assert (gone.ok, gone.id) == (True, 7)
    assert ("tracker", "heard a cat") in visitor.notes
    assert list(report.stream_events) == [
        "asked square, a dog, a cat",
        "prompted it at (3.0, 4.0)",
        "asked square, a dog, a cat, like this 1",
        "prompted like this 1 at (5.0, 6.0)",
        "forgot 7",
    ]


def test_a_run_that_publishes_nowhere_listens_nowhere(run_fake):
    config = {"control": {"endpoint": "auto"}, "publish": {"endpoint": None}}
    visitor = Visitor("tcp://127.0.0.1:5561", [])
    report, _, _ = run_fake("fake://squares?frames=5", "inproc", visitor, config)
    assert report.errors == []


def test_a_door_that_is_taken_ends_the_run_with_one_line(run_fake, around):
    (around / "door").write_text("not a socket")
    config = {"control": {"endpoint": f"ipc://{around}/door"}}
    report, _, _ = run_fake("fake://squares?frames=5", "ipc", None, config)
    (line,) = report.errors
    assert "is a file that is not a socket" in line
    assert "control.endpoint" in line
    assert report.exit == 1


def test_a_run_that_has_ended_answers_nobody(run_fake, around):
    endpoint = f"ipc://{around}/door"
    config = {"control": {"endpoint": endpoint}}
    run_fake("fake://squares?frames=5", "inproc", None, config)
    with Client(endpoint, 0.05) as client, pytest.raises(MaskcastError, match="nobody answers"):
        client.ask(Get())
