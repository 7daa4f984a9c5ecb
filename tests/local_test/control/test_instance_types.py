from __future__ import annotations

import pytest

from mme_local.control.instance_types import advice, types
from mme_training.instance_types import HOSTING, TRAINING


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
