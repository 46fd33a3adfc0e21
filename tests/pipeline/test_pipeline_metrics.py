"""Metrics and health of whole pipelines, scraped while they run."""

import contextlib
import json
import re
import signal
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(url, wanted, timeout_s=20.0):
    """Ask until an answer is as wanted; return it."""
    give_up = time.monotonic() + timeout_s
    while not wanted(*(answer := get(url))):
        assert time.monotonic() < give_up, answer
        time.sleep(0.05)
    return answer


def url_of(run):
    """Where a command serves its metrics, from its own words."""
    for line in run.process.stderr:
        if found := re.search(r"metrics at (http://\S+/)metrics", line):
            return found[1]
    raise AssertionError("no metrics")


def values(text):
    return {
        (sample.name, *(v for k, v in sorted(sample.labels.items()) if k not in ("stream",))):
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("stream: line-3\nmetrics: {port: 0, hung_after_s: 1.5}\n")
    return str(path)


def test_a_run_without_a_page_is_counted_exactly_and_a_source_that_hangs_is_told(command, config):
    run = command(config, uri="fake://squares?live=0&hang=20&secret=hunter2")
    url = url_of(run)
    wait_for(f"{url}health/ready", lambda status, _: status == 200)
    wait_for(f"{url}metrics", lambda _, text: 'tracked_total{stream="line-3"} 20.0' in text)
    status, body = wait_for(f"{url}health/live", lambda status, _: status == 503)
    health = json.loads(body)
    assert re.fullmatch(r"reader has not been at work for \d\.\d s", health["reasons"][0])
    assert len(health["reasons"]) == 1
    _, text = get(f"{url}metrics")
    assert "hunter2" not in text
    found = values(text)
    assert found["maskcast_live",] == 0
    for name in ("read", "tracked", "published"):
        assert found[f"maskcast_frames_{name}_total",] == 20
    assert sum(v for key, v in found.items() if key[0] == "maskcast_frames_dropped_total") == 0
    assert found["maskcast_frame_latency_seconds_count",] == 20
    for step in ("read", "sent", "taken", "tracked", "received", "published"):
        assert found["maskcast_frame_step_seconds_count", step] == 20
    assert found["maskcast_detection_seconds_count",] == found["maskcast_detection_events_total",]
    assert found["maskcast_ring_slots", "frames"] == 8
    for stage in ("reader", "tracker", "detector", "publisher", "supervisor"):
        assert found["maskcast_process_resident_memory_bytes", stage] > 10 << 20
    stages = json.loads(get(f"{url}health")[1])["stages"]
    assert {name: stage["state"] for name, stage in stages.items()} == {
        "reader": "hung", "tracker": "running", "detector": "running", "publisher": "running",
        "supervisor": "running",
    }  # fmt: skip
    run.process.send_signal(signal.SIGINT)
    status, lines, report = run.end()
    assert status == 130
    assert any("reader: has not been at work for" in line for line in lines)
    assert report["errors"] == [
        "stage reader hung: it had not been at work for 1.5 s when the run ended"
    ]


@pytest.mark.parametrize(("stage", "what"), [("tracker", "step_s"), ("publisher", "sink_s")])
def test_a_stage_that_hangs_is_told_and_is_well_again_when_it_goes_on(
    command, config, tmp_path, stage, what
):
    mark = tmp_path / "mark"
    run = command(config, uri="fake://squares?live=1&fps=50", mark=str(mark), **{what: 4.0})
    url = url_of(run)
    run.wait_for_file(mark)
    _, body = wait_for(f"{url}health/live", lambda status, _: status == 503)
    assert json.loads(body)["reasons"][0].startswith(f"{stage} has not been at work for")
    stages = json.loads(get(f"{url}health")[1])["stages"]
    assert [name for name, health in stages.items() if health["state"] == "hung"] == [stage]
    wait_for(f"{url}health/live", lambda status, _: status == 200)


def test_a_source_that_is_away_is_not_ready_but_live(command, config):
    run = command(config, uri="fake://squares?live=0&gap=5&away=20")
    url = url_of(run)
    _, body = wait_for(f"{url}health/ready", lambda _, body: "reconnecting" in body)
    assert json.loads(body)["reasons"] == ["the source is reconnecting"]
    time.sleep(2.0)  # longer than a stage may be silent
    status, body = get(f"{url}health/live")
    assert (status, json.loads(body)["live"]) == (200, True)
    found = values(get(f"{url}metrics")[1])
    assert (found["maskcast_ready",], found["maskcast_source_reconnecting",]) == (0, 1)
    assert found["maskcast_source_events_total", "gap"] == 1


def test_slow_is_not_hung(command, config):
    run = command(config, uri="fake://squares?live=1&fps=50", step_s=0.7, sink_s=0.7)
    url = url_of(run)
    wait_for(f"{url}health/ready", lambda status, _: status == 200)
    until = time.monotonic() + 3.0
    while time.monotonic() < until:
        assert get(f"{url}health/live")[0] == 200
        time.sleep(0.1)


@pytest.mark.parametrize("kind", ["inproc", "tcp"])
def test_whatever_joins_the_stages(run_fake, kind):
    from stream.pipeline import Observer

    class Scraper(Observer):
        text = health = ""
        processes = frozenset()

        def update(self, now):
            url = now.sinks.get("metrics", {}).get("url")
            if url and now.published > 40:
                with contextlib.suppress(urllib.error.URLError):  # the run may be at its end
                    text, health = get(url)[1], get(url.replace("metrics", "health"))[1]
                    self.text, self.health = text, health
                    # A reader that has read all is gone before the others.
                    name = "maskcast_process_cpu_seconds_total"
                    self.processes |= {key[1] for key in values(text) if key[0] == name}

    scraper = Scraper()
    report, _, _ = run_fake(
        "fake://squares?live=1&frames=200&fps=100", kind, scraper, {"metrics": {"port": 0}}
    )
    assert report.errors == []
    found = values(scraper.text)
    assert 0 < found["maskcast_frames_published_total",] <= 200
    assert json.loads(scraper.health)["stages"]["tracker"]["state"] in ("running", "ended")
    assert "supervisor" in scraper.processes
    assert len(scraper.processes) == (1 if kind == "inproc" else 5)
