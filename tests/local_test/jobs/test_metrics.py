from __future__ import annotations

import pytest

from mme_local.jobs.errors import JobError
from mme_local.jobs.metrics import Metrics, escape


def test_control_characters_are_escaped_as_in_cloudwatch() -> None:
    assert escape("[0]\ttrain-rmse:1\r") == "[0]#011train-rmse:1#015"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "[12]#011train-rmse:1.5#011validation-rmse:2e-3",
            {"train:rmse": 1.5, "validation:rmse": 0.002},
        ),
        (
            "[2026-11-26:13:24:56:INFO] [0]#011train-ndcg@5-:0.5#011train-error@0.7:1",
            {"train:ndcg@5-": 0.5, "train:error@0.7": 1.0},
        ),
        ("[1]#011train-rmse:nan#011validation-rmse:inf", {}),
        ("[1]#011test-rmse:1", {}),
        ("train-rmse:1", {}),
        ("[1] train-rmse:1", {}),
    ],
)
def test_xgboosts_own(line: str, found: dict[str, float]) -> None:
    assert Metrics(None).read(line) == found


def test_definitions() -> None:
    metrics = Metrics([("loss", r"loss=(\S+)"), ("epoch", r"epoch (\d+)"), ("whole", r"\d\.\d")])
    assert metrics.read("epoch 3: loss=0.5") == {"loss": 0.5, "epoch": 3.0, "whole": 0.5}
    assert metrics.read("epoch 4: loss=low") == {"epoch": 4.0}
    assert metrics.read("[1]#011train-rmse:1") == {}
    assert metrics.last == {"loss": 0.5, "epoch": 4.0, "whole": 0.5}
    assert [each["MetricName"] for each in metrics.final()] == ["epoch", "loss", "whole"]


def test_awss_own_regular_expression_finds_what_ours_does() -> None:
    aws = r".*\[[0-9]+\].*#011validation-rmse:([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?).*"
    line = escape("[3]\ttrain-rmse:65957.47302\tvalidation-rmse:80331.25013")
    assert Metrics([("validation:rmse", aws)]).read(line) == {"validation:rmse": 80331.25013}


def test_what_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(JobError, match="MetricDefinitions"):
        Metrics([("loss", "(")])
