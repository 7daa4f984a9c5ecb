from __future__ import annotations

import pytest

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.settings import Deployment
from mme_hosting.training import archives, job_options
from mme_training.many.sagemaker_options import SageMakerOptions

ROLE = "arn:aws:iam::123456789012:role/houses"


def context(**settings) -> Context:
    account = Aws("eu-west-1")
    account.__dict__["caller"] = "arn:aws:iam::123456789012:user/someone"
    return Context(Deployment.model_validate({"name": "houses", "role": ROLE, **settings}), account)


def test_jobs_are_those_of_the_endpoint() -> None:
    network = {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}
    given = job_options(
        context(
            models="s3://bucket/houses/models/", kms_key="alias/k", vpc=network, tags={"a": "b"}
        )
    )
    options = SageMakerOptions(**given)
    assert (options.role, options.region, options.kms_key) == (ROLE, "eu-west-1", "alias/k")
    assert options.image.endswith("/xgboost-mme:0.1.0-cpu")
    assert (options.subnets, options.security_groups) == (("subnet-1",), ("sg-1",))
    assert options.tags == {"a": "b"}


def test_what_is_given_need_not_be_the_endpoints() -> None:
    nobody = context(role=None)
    with pytest.raises(HostingError, match="no execution role is known"):
        job_options(nobody)
    assert job_options(nobody, {"role": ROLE, "at_once": 3})["at_once"] == 3


@pytest.mark.parametrize("models", ["s3://bucket/houses/models/", "s3://bucket", "s3://bucket/a/"])
def test_what_is_trained_is_not_among_what_is_served(models) -> None:
    where = context(models=models)
    served, trained = str(where.models), str(archives(where))
    if where.models.key:  # all of a bucket is served: then there is no beside
        assert not trained.startswith(served)
    assert trained.startswith(job_options(where)["s3_prefix"])
    assert SageMakerOptions(**job_options(where)).models_prefix == trained
