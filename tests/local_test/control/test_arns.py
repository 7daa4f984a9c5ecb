from __future__ import annotations

import pytest

from mme_local.control.arns import MODEL, TRAINING_JOB, Arns

ARNS = Arns("eu-west-1")


@pytest.mark.parametrize("kind", [MODEL, TRAINING_JOB])
def test_an_arn_leads_back_to_its_resource(kind: str) -> None:
    arn = ARNS.of(kind, "Houses-1")
    assert arn == f"arn:aws:sagemaker:eu-west-1:123456789012:{kind}/Houses-1"
    assert ARNS.read(arn) == (kind, "Houses-1")


def test_an_arn_of_elsewhere_is_none_of_ours() -> None:
    assert ARNS.read("arn:aws:sagemaker:us-east-1:123456789012:model/houses") is None
