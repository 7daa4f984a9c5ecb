from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_training.many.sagemaker_jobs import MOST_ATTEMPTS, definitions, job_name, request
from mme_training.many.sagemaker_options import SageMakerOptions
from mme_training.many.work import Plan
from support.aws import ROLE

PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
FINGERPRINT = "9f3c" * 16


@given(
    st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,18}[a-zA-Z0-9])?", fullmatch=True),
    st.text(min_size=1, max_size=100),
    st.integers(1, MOST_ATTEMPTS),
)
def test_sagemaker_takes_every_name(prefix: str, segment: str, attempt: int) -> None:
    name = job_name(prefix, segment, FINGERPRINT, attempt)

    assert PATTERN.fullmatch(name)
    assert len(name) <= 63
    assert name.startswith(f"{prefix}-")


@given(st.lists(st.text("aB1-_. é", min_size=1, max_size=40), unique=True, min_size=2))
def test_no_two_segments_share_a_name(segments: list[str]) -> None:
    assert len({job_name("mme", segment, FINGERPRINT) for segment in segments}) == len(segments)


@pytest.mark.parametrize(
    ("segment", "attempt", "expected"),
    [
        ("Chicago", 1, "mme-Chicago-9f3c9f3c"),
        ("Chicago", 2, "mme-Chicago-9f3c9f3c-2"),
        ("Chicago_IL", 1, "mme-Chicago-IL-[0-9a-f]{6}-9f3c9f3c"),
        ("x" * 64, 12, "mme-x{23}-[0-9a-f]{6}-9f3c9f3c-12"),
        ("_", 1, "mme-[0-9a-f]{6}-9f3c9f3c"),
    ],
)
def test_names_stay_readable(segment: str, attempt: int, expected: str) -> None:
    assert re.fullmatch(expected, job_name("mme", segment, FINGERPRINT, attempt))


@pytest.mark.parametrize(
    ("given", "line", "found"),
    [
        (
            {"eval_metric": "rmse"},
            "[0]\ttrain-rmse:0.5\tvalidation-rmse:0.25",
            {"train:rmse": "0.5", "validation:rmse": "0.25"},
        ),
        ({}, "[0]\ttrain-rmse:0.5\tvalidation-rmse:0.25", {"validation:rmse": "0.25"}),
        (
            {"eval_metric": "logloss", "objective": "binary:logistic"},
            "[12]#011train-logloss:1e-05#011validation-logloss:nan",
            {"train:logloss": "1e-05", "validation:logloss": "nan"},
        ),
        (
            {"eval_metric": "tweedie-nloglik", "objective": "reg:tweedie"},
            "[1]\ttrain-tweedie-nloglik@1.5:2",
            {"train:tweedie-nloglik@1.5": "2"},
        ),
        (
            {"eval_metric": "ndcg,ndcg@3", "objective": "rank:ndcg"},
            "[1]\ttrain-ndcg:0.5\ttrain-ndcg@3:1",
            {"train:ndcg": "0.5", "train:ndcg@3": "1"},
        ),
        (
            {"eval_metric": ["error@0.7"], "objective": "binary:logistic"},
            "[1]\ttrain-error@0.7:1",
            {"train:error@0.7": "1"},
        ),
        ({"eval_metric": '["mae", "rmse"]'}, "[1]\ttrain-mae:3", {"train:mae": "3"}),
    ],
)
def test_metrics_are_found_in_the_log(
    given: dict[str, object], line: str, found: dict[str, str]
) -> None:
    matches = {
        definition["Name"]: match[1]
        for definition in definitions({"num_round": 5, **given})
        if (match := re.search(definition["Regex"], line))
    }
    assert found.items() <= matches.items()


def test_a_metric_is_not_taken_for_another() -> None:
    (definition,) = (d for d in definitions({"num_round": 5}) if d["Name"] == "validation:rmse")
    for line in ("[0]\tvalidation-rmsle:0.5", "[0]\ttrain-rmse:0.5", "validation-rmse:0.5"):
        assert not re.search(definition["Regex"], line)


def test_there_are_no_more_definitions_than_sagemaker_takes() -> None:
    names = [f"ndcg@{i}" for i in range(1, 31)]
    given = {"num_round": 5, "objective": "rank:ndcg", "eval_metric": names}

    found = [definition["Name"] for definition in definitions(given)]

    assert len(found) == 40
    assert found[:30] == [f"validation:{name}" for name in names]


def test_hyperparameters_are_strings() -> None:
    given = {"eta": 0.1, "num_round": 5, "objective": "reg:squarederror", "csv_weights": True}
    options = SageMakerOptions(role=ROLE, image="xgboost-mme", s3_prefix="s3://rows")

    asked = request(options, Plan("y", ("x",), given, Path()), "mme-a-1", "s3://rows/data/a/1")

    assert asked["HyperParameters"] == {
        "eta": "0.1",
        "num_round": "5",
        "objective": "reg:squarederror",
        "csv_weights": "true",
    }
    assert asked["OutputDataConfig"] == {"S3OutputPath": "s3://rows/output"}
