"""The dashboard, the scrape example and the documentation ask for what is there."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml

from stream.config import MetricsConfig, WebConfig
from stream.metrics import METRICS

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "configs" / "grafana.json").read_text())
PANELS = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
SERIES = {name: metric for metric in METRICS.values() for name in metric.series}


def test_the_dashboard_asks_for_metrics_that_are_exposed() -> None:
    variables = [v["definition"] for v in DASHBOARD["templating"]["list"] if "definition" in v]
    asked = {name for text in QUERIES + variables for name in re.findall(r"maskcast_\w+", text)}
    assert asked - set(SERIES) == set()
    # Every metric is somewhere to be seen.
    assert set(METRICS) - {SERIES[name].name for name in asked} == set()


@pytest.mark.parametrize("query", QUERIES)
def test_queries_are_sound(query: str) -> None:
    assert query.count("(") == query.count(")")
    assert 'stream=~"$stream"' in query
    for series in re.findall(r"(?:rate|increase)\((maskcast_\w+)", query):
        assert SERIES[series].kind in ("counter", "histogram")
    for series in re.findall(r"maskcast_\w+", query):
        if SERIES[series].kind == "counter" or series.endswith("_bucket"):
            assert re.search(rf"(rate|increase)\({series}\{{", query)
    for labels in re.findall(r"by \(([^)]*)\)", query):
        (series,) = re.findall(r"maskcast_\w+", query)
        known = {"le", "stream", *SERIES[series].labels}
        assert set(re.split(r",\s*", labels)) <= known


def test_every_query_goes_to_the_chosen_source() -> None:
    kinds = {v["name"]: v["type"] for v in DASHBOARD["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "stream": "query"}
    for panel in PANELS:
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_legends_name_labels_that_are_there() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            series = re.findall(r"maskcast_\w+", target["expr"])
            known = {"stream", *SERIES[series[0]].labels}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known


def test_panels_have_a_place_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for a, b in itertools.combinations([panel["gridPos"] for panel in PANELS], 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y
        assert a["x"] + a["w"] <= 24


def test_the_scrape_example_scrapes_the_page_where_it_is() -> None:
    data = yaml.safe_load((ROOT / "configs" / "prometheus.yaml").read_text())
    (job,) = data["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{WebConfig().host}:{WebConfig().port}"]
    assert "metrics_path" not in job  # the default is /metrics, which is ours


def test_the_documentation_names_every_metric_with_its_labels() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(maskcast_\w+)` \| (\w+) \|([^|]*)\|", text, re.MULTILINE)
    found = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(rows) == len(found)
    assert found == {m.name: (m.kind, m.labels) for m in METRICS.values()}


def test_the_documentation_knows_the_keys_and_their_defaults() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert f"`metrics.hung_after_s` ({MetricsConfig().hung_after_s:g}" in text
    for key in ("web.metrics", "metrics.host", "metrics.port"):
        assert f"`{key}`" in text
