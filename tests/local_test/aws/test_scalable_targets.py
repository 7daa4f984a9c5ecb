from __future__ import annotations

from collections.abc import Iterator

import pytest

from mme_local.aws import scalable_targets
from mme_local.aws.clients import Clients
from support.aws import REGION, aws

HOUSES = "endpoint/houses/variant/main"


@pytest.fixture
def clients() -> Iterator[Clients]:
    with aws() as endpoint:
        made = Clients(endpoint, REGION)
        for resource in (HOUSES, "endpoint/houses-2/variant/main"):
            made.client("application-autoscaling").register_scalable_target(
                ServiceNamespace="sagemaker",
                ScalableDimension="sagemaker:variant:DesiredInstanceCount",
                ResourceId=resource,
                MinCapacity=1,
                MaxCapacity=2,
            )
        yield made


def test_those_of_one_endpoint(clients):
    assert scalable_targets.variants(clients, "houses") == {"main": HOUSES}
    assert scalable_targets.variants(clients, "house") == {}


def test_what_a_client_deletes_at_the_same_moment_is_gone_as_well(clients, monkeypatch):
    seen = scalable_targets.variants(clients, "houses")
    scalable_targets.deregister(clients, "houses")
    monkeypatch.setattr(scalable_targets, "variants", lambda *_: seen)
    monkeypatch.setattr(scalable_targets, "policies", lambda *_: [{"PolicyName": "gone"}])
    scalable_targets.deregister(clients, "houses")
    assert len(scalable_targets.registered(clients)) == 1
