from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from mme_training.errors import UserError
from mme_training.many.manifest import MANIFEST, PREDICTIONS
from mme_training.report.collect import Evaluation, Model, collect
from mme_training.report.page import (
    duration,
    number,
    render,
    size_of,
    write_report,
)
from support.reports import HOSTILE, KEYS, TINY

VOID = {"meta", "input", "path", "use", "rect"}


class Page(HTMLParser):
    """What is in a page, once it is sure that every element is closed where it must be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len({name for name, _ in attrs})
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str) -> list[str]:
        return [data for name, data in self.words if name == tag]


def page(out: Path) -> Page:
    return Page(write_report(out).read_text(encoding="utf-8"))


def model(key: str, error: str | None = None, **given: object) -> Model:
    row = Model(
        key, key, 600, 300, 100, 25, f"archives/{key}.tar.gz", 14_000, 0.1, "3.2.0", 1, error
    )
    return replace(row, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["out", "binary", "multiclass", "failed"])
def test_the_page_is_whole_and_needs_nothing_else(name: str, request: pytest.FixtureRequest):
    out = request.getfixturevalue(name)
    shown = page(out)

    ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in shown.elements:
        assert "src" not in attributes
        for reference in (attributes.get("href"), attributes.get("xlink:href")):
            if reference and reference.startswith("#"):
                assert reference[1:] in ids, tag
            elif reference:
                assert (out / reference).is_file(), tag
    assert not {"link", "iframe", "img", "object"} & {tag for tag, _ in shown.elements}
    assert not [path for path in out.iterdir() if path.suffix == ".part"]


@pytest.mark.parametrize("name", ["out", "binary", "multiclass", "failed"])
def test_the_page_can_be_read_without_seeing_it(name: str, request: pytest.FixtureRequest):
    shown = page(request.getfixturevalue(name))

    assert shown.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in shown.all("svg"))
    assert all(head["scope"] in ("row", "col") for head in shown.all("th"))
    assert [label["for"] for label in shown.all("label")] == [i["id"] for i in shown.all("input")]


def test_every_model_is_listed_by_its_key(out: Path):
    shown = page(out)
    for key in (*KEYS, TINY):
        assert key in shown.text("th")
    assert len(shown.all("a")) == len(KEYS) + len(
        ["test-rmse", "Worst models", "Features", "All models", "Failures", "Hyperparameters"]
    )
    assert "2 rows cannot be split" in " ".join(shown.text("td"))
    assert shown.text("dt")[:2] == ["Trained", "Failed"]
    assert shown.text("dd")[:2] == ["5", "1"]


def test_hostile_names_are_text(out: Path):
    shown = page(out)

    assert len(shown.all("script")) == 1
    assert shown.all("b") == []
    assert HOSTILE in shown.text("th")
    evaluation = collect(out, 6)
    hostile = next(one for one in evaluation.trained if one.key == HOSTILE)
    only = replace(evaluation, worst=[hostile], predictions={})
    assert HOSTILE in Page(render(only)).text("h3")


def test_hostile_metrics_features_and_hyperparameters_are_text():
    name = "test-<script>&amp;"
    one = model("a", metrics={name: 1.5}, importance={HOSTILE: 2.0}, path="../<i>'\"&?#.gz")
    evaluation = Evaluation(
        [one], [], {HOSTILE: HOSTILE, "objective": HOSTILE}, [name], name, worst=[one]
    )
    shown = Page(render(evaluation))

    assert len(shown.all("script")) == 1
    assert name in shown.text("button")
    assert shown.text("dt").count(HOSTILE) == 2
    assert HOSTILE in shown.text("td")
    assert shown.all("a")[-1]["href"].startswith("./")


def test_only_the_pages_own_script_may_run(out: Path):
    text = write_report(out).read_text(encoding="utf-8")
    script = re.search("<script>(.*?)</script>", text, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = next(m["content"] for m in Page(text).all("meta") if m.get("http-equiv"))
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )


def test_the_same_directory_gives_the_same_bytes(out: Path, tmp_path: Path):
    to = tmp_path / "copy"
    shutil.copytree(out, to)
    code = "import sys, pathlib; from mme_training.report.page import write_report as w; "
    subprocess.run(
        [sys.executable, "-c", code + "w(pathlib.Path(sys.argv[1]))", to],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert (to / "report.html").read_bytes() == write_report(out).read_bytes()


def test_numbers_have_residuals(out: Path):
    captions = page(out).text("figcaption")
    assert {"Predicted against actual", "Residuals", "Features, by gain"} == set(captions)


def test_two_classes_have_scores_and_calibration(binary: Path):
    shown = page(binary)
    captions = shown.text("figcaption")
    assert {"Scores by label", "Calibration", "Features, by gain"} == set(captions)
    assert "test-logloss over all models" in shown.text("h2")


def test_many_classes_have_what_was_recognized(multiclass: Path):
    captions = page(multiclass).text("figcaption")
    assert {"Rows of each class", "Features, by gain"} == set(captions)


def test_failures_alone_have_no_charts(failed: Path):
    shown = page(failed)
    assert shown.all("svg") == []
    assert shown.text("h2") == ["Failures", "Hyperparameters"]
    assert {"a", "b"} <= set(shown.text("th"))


def test_without_predictions_it_says_so(out: Path, tmp_path: Path):
    shutil.copy(out / MANIFEST, tmp_path)
    assert not (tmp_path / PREDICTIONS).exists()
    shown = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "No chart: the predictions of its test rows were not kept." in shown.text("p")
    assert len(shown.all("svg")) == 1


def test_models_elsewhere_have_no_link_and_no_importance():
    name = "validation-rmse"
    one = model("a", path="s3://bucket/models/a.tar.gz", metrics={name: 1.0})
    shown = Page(render(Evaluation([one], metrics=[name], metric=name, worst=[one])))
    assert "that training could stop by; less" in " ".join(shown.text("p"))
    assert "s3://bucket/models/a.tar.gz" in shown.text("td")
    assert all(link["href"].startswith("#") for link in shown.all("a"))
    assert "Features" not in shown.text("h2")


def test_linear_models_have_coefficients():
    one = model("a", metrics={"test-rmse": 1.0}, importance={"up": 1.0, "down": -3.0})
    evaluation = Evaluation([one], linear=True, metrics=["test-rmse"], metric="test-rmse")
    shown = Page(render(evaluation))
    assert shown.text("dt")[-2:] == ["down", "up"]
    assert "75.0 %" in shown.text("dd")
    assert "coefficient" in " ".join(shown.text("p"))


def test_no_training_was_done_at_all():
    assert Page(render(Evaluation([]))).text("h2") == []


def test_a_thousand_models_are_not_many_megabytes():
    models = [
        model(f"City_{n:04d}", metrics={"test-rmse": 1e4 + n**1.5}, importance={"AGE": 1.0 + n})
        for n in range(1000)
    ]
    text = render(Evaluation(models, metrics=["test-rmse"], metric="test-rmse", worst=models[:6]))
    assert len(text) < 2_000_000
    assert {one.key for one in models} <= set(Page(text).text("th"))


def test_a_directory_of_something_else(tmp_path: Path):
    with pytest.raises(UserError, match="mme train many"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("theme", [0, 1])
def test_text_and_charts_stand_out_from_the_ground(theme: int):
    text = render(Evaluation([]))
    block = re.findall(r":root \{(.*?)\}", text, re.DOTALL)[theme]
    colours = dict(re.findall(r"--(\w+): (#\w{6});", block))
    for ground in ("ground", "raised"):
        for ink, least in (
            ("ink", 7),
            ("muted", 4.5),
            ("alarm", 4.5),
            ("first", 4.5),
            ("second", 3),
        ):
            assert contrast(colours[ink], colours[ground]) >= least, (ink, ground)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG has it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.012341, "0.01234"), (12.3456, "12.35"), (34_512.4, "34,512"), (-2000, "-2,000"), (0, "0")],
)
def test_numbers(value: float, expected: str):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0461, "46 ms"),
        (5.55, "5.5 s"),
        (61, "1 min 1 s"),
        (3599.9, "1 h 0 min"),
        (9e6, "2,500 h 0 min"),
    ],
)
def test_durations(seconds: float, expected: str):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(0, "0.0 KB"), (14_321, "14.3 KB"), (5e6, "5.0 MB"), (2.5e9, "2.5 GB")]
)
def test_sizes(size: float, expected: str):
    assert size_of(size) == expected
