"""What AWS refuses, in words for whoever can mend it."""

from __future__ import annotations

from typing import Any

import pytest

from mme_training.errors import AlgorithmError, UserError
from mme_training.many.sagemaker_api import ATTEMPTS
from support.sagemaker import (
    BusySageMaker,
    refusal,
)
from support.sagemaker_bench import Bench


@pytest.mark.parametrize(
    ("operation", "answer", "said"),
    [
        (
            "CreateTrainingJob",
            refusal(
                "AccessDeniedException",
                "User: arn:aws:iam::123456789012:user/me is not authorized to perform: "
                "iam:PassRole on resource: arn:aws:iam::123456789012:role/training",
            ),
            r"CreateTrainingJob for the job mme-City-0-\S+ failed: .*Allow .* iam:PassRole",
        ),
        (
            "ListTrainingJobs",
            refusal(
                "AccessDeniedException",
                "User: me is not authorized to perform: sagemaker:ListTrainingJobs",
            ),
            "Allow your user or role sagemaker:ListTrainingJobs",
        ),
        (
            "CreateTrainingJob",
            refusal("ValidationException", "Could not assume role arn:aws:iam::1:role/x."),
            "trust policy",
        ),
        (
            "CreateTrainingJob",
            refusal("ValidationException", "Cannot find repository: xgboost-mme in registry"),
            "Check the image's URI",
        ),
        (
            "ListTrainingJobs",
            refusal("ExpiredTokenException", "The security token included is expired"),
            "Renew your credentials",
        ),
    ],
)
def test_refusals_say_what_to_do(
    busy: BusySageMaker, bench: Bench, operation: str, answer: Any, said: str
) -> None:
    busy.refuse[operation] = [answer]

    with pytest.raises(UserError, match=said):
        bench.run(2)


def test_an_error_says_that_jobs_go_on(busy: BusySageMaker, bench: Bench) -> None:
    busy.before_create = lambda name: busy.refuse.update(
        CreateTrainingJob=[refusal("AccessDeniedException", "no longer")]
    )

    with pytest.raises(UserError, match="no longer"):
        bench.run(2)
    assert "1 jobs go on" in bench.notes


def test_a_missing_bucket_is_named(busy: BusySageMaker, bench: Bench) -> None:
    with pytest.raises(UserError, match=r"PutObject for s3://no-such-bucket/.* Make the bucket"):
        bench.run(1, s3_prefix="s3://no-such-bucket/x")


def test_missing_credentials_and_region(
    busy: BusySageMaker, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(UserError, match="no AWS credentials were found"):
        bench.run(1)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(UserError, match="no AWS region is known"):
        bench.run(1)


def test_an_endpoint_that_does_not_answer(
    busy: BusySageMaker, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://127.0.0.1:1")

    with pytest.raises(AlgorithmError, match=r"ListTrainingJobs .* gets no answer"):
        bench.run(1)
    assert len(bench.pauses) == ATTEMPTS - 1
