from __future__ import annotations

import pytest

from mme_local.containers import images

OURS = "xgboost-mme:cpu"


@pytest.mark.parametrize(
    "uri",
    [
        "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
        "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0-cpu-py3",
        "450853457545.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-xgboost:1.5-1",
        "811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:latest",
        "811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/xgboost-mme:v1",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/xgboost-mme@sha256:" + "0" * 64,
    ],
)
def test_awss_image_and_ours_in_ecr_run_as_our_image(uri: str) -> None:
    assert images.resolve(uri, OURS) == OURS
    assert images.is_ours(uri, OURS)


@pytest.mark.parametrize(
    "uri",
    [
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/my-xgboost:1",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/sagemaker-xgboost:1",
        "example.org/sagemaker-xgboost:1.7-1",
        "sagemaker-xgboost:1.7-1",
        "python:3.11",
    ],
)
def test_others_run_as_themselves(uri: str) -> None:
    assert images.resolve(uri, OURS) == uri
    assert not images.is_ours(uri, OURS)


def test_a_local_image_of_ours_runs_as_itself() -> None:
    assert images.resolve("xgboost-mme:gpu", OURS) == "xgboost-mme:gpu"
    assert images.is_ours("xgboost-mme:gpu", OURS)
    assert images.is_ours("mine:1", "mine:1")


def test_a_missing_image_is_explained() -> None:
    assert "build it, or docker pull it" in images.missing("python:3.11", OURS)
    uri = "811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:1"
    assert f"{uri} runs as the image {OURS}" in images.missing(uri, OURS)
    assert "make image" in images.missing(uri, OURS)
