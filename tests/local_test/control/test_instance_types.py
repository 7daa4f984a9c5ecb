from __future__ import annotations

import pytest

from mme_local.control.instance_types import HOSTING, TRAINING, advice, hosts_multi_model, types


@pytest.mark.parametrize(
    ("enumeration", "value", "text"),
    [
        (
            HOSTING,
            "ml.t3.medium",
            ". ml.t3.medium can train but cannot host; the nearest that can is ml.t2.medium.",
        ),
        (
            TRAINING,
            "ml.t2.medium",
            ". ml.t2.medium can host but cannot train; the nearest that can is ml.t3.medium.",
        ),
        (HOSTING, "ml.m5.huge", ". ml.m5.huge cannot host; the nearest that can is ml.m5.large."),
        (HOSTING, "local", ""),
        ("OrderKey", "ml.t3.medium", ""),
    ],
)
def test_what_to_write_instead(enumeration: str, value: str, text: str) -> None:
    assert advice(enumeration, value) == text


def test_for_every_type_that_only_trains_there_is_one_that_hosts() -> None:
    for value in set(types(TRAINING)) - set(types(HOSTING)):
        assert "the nearest that can is ml." in advice(HOSTING, value), value


@pytest.mark.parametrize(
    ("instance_type", "takes"),
    [
        ("ml.t2.medium", True),
        ("ml.m7i.48xlarge", True),
        ("ml.g4dn.xlarge", True),
        ("ml.g5.16xlarge", True),
        ("ml.p3.2xlarge", True),
        ("ml.g5.12xlarge", False),
        ("ml.p4d.24xlarge", False),
        ("ml.p2.8xlarge", False),
        ("ml.inf2.xlarge", False),
        ("ml.trn1.2xlarge", False),
    ],
)
def test_multi_model_is_for_cpus_and_single_gpus(instance_type: str, takes: bool) -> None:
    assert instance_type in types(HOSTING)
    assert hosts_multi_model(instance_type) is takes
