"""Quotas, throttling, and runs that do not wait."""

from __future__ import annotations

from typing import Any

import pytest

from mme_training.errors import AlgorithmError, UserError
from mme_training.many.sagemaker import LOWERED_FOR, MOST_REFUSALS
from mme_training.many.sagemaker_api import ATTEMPTS, LONGEST_PAUSE
from support.sagemaker import (
    BusySageMaker,
    Fate,
    quota_refusal,
    refusal,
    throttled,
)
from support.sagemaker_bench import Bench


def test_a_quota_lowers_how_many_run(busy: BusySageMaker, bench: Bench) -> None:
    busy.quota = 2
    busy.fate_of = lambda name: Fate(looks=2)

    assert len(bench.run(7, at_once=5)) == 7
    assert busy.most_running == 2
    assert busy.calls["CreateTrainingJob"] == 8  # Refused once, and not asked for again.
    assert "no more than 2 jobs" in bench.notes


def test_a_lowered_limit_is_tried_anew_later(busy: BusySageMaker, bench: Bench) -> None:
    busy.quota = 1
    busy.fate_of = lambda name: Fate(looks=2)

    def more() -> None:
        if len(bench.pauses) == LOWERED_FOR:
            busy.quota = 3

    bench.on_pause = more

    assert len(bench.run(16, at_once=5)) == 16
    assert busy.most_running == 3


def test_a_quota_that_others_use_up_is_waited_for(busy: BusySageMaker, bench: Bench) -> None:
    busy.refuse["CreateTrainingJob"] = [quota_refusal(4, 4)] * 5

    assert bench.run(2, poll=30.0)["City_0"].error is None
    assert bench.pauses[:5] == [60.0, 120.0, 240.0, 300.0, 300.0]
    assert "others use up the quota" in bench.notes


def test_nobody_waits_for_a_quota_for_ever(busy: BusySageMaker, bench: Bench) -> None:
    busy.refuse["CreateTrainingJob"] = [quota_refusal(4, 4)] * 100

    with pytest.raises(UserError, match="Service Quotas"):
        bench.run(2)
    assert busy.calls["CreateTrainingJob"] == MOST_REFUSALS


@pytest.mark.parametrize(
    "answer",
    [
        quota_refusal(0, 0),
        refusal(
            "ResourceLimitExceeded",
            "The requested resource training-job/ml.p2.xlarge is not available in this region",
        ),
    ],
)
def test_a_quota_of_nothing_is_not_waited_for(
    busy: BusySageMaker, bench: Bench, answer: Any
) -> None:
    busy.refuse["CreateTrainingJob"] = [answer]

    with pytest.raises(UserError, match=r"CreateTrainingJob for ml\.m5\.large"):
        bench.run(2)
    assert not bench.pauses


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("CreateTrainingJob", throttled()),
        ("CreateTrainingJob", refusal("InternalFailure", "we are sorry", 500)),
        ("DescribeTrainingJob", refusal("ServiceUnavailable", "later", 503)),
        ("ListTrainingJobs", refusal("RequestLimitExceeded", "Request limit exceeded.")),
    ],
)
def test_throttled_calls_are_repeated(
    busy: BusySageMaker, bench: Bench, operation: str, answer: Any
) -> None:
    busy.refuse[operation] = [answer] * (ATTEMPTS - 1)

    records = bench.run(2)

    assert [record.error for record in records.values()] == [None, None]
    assert len(busy.jobs) == 2


def test_pauses_grow_up_to_a_limit(busy: BusySageMaker, bench: Bench) -> None:
    busy.refuse["ListTrainingJobs"] = [throttled()] * 100

    with pytest.raises(AlgorithmError, match=r"ListTrainingJobs for jobs named mme-.*try later"):
        bench.run(1)

    assert busy.calls["ListTrainingJobs"] == ATTEMPTS
    assert all(
        0 <= pause <= min(LONGEST_PAUSE, 2.0 ** (n + 1)) for n, pause in enumerate(bench.pauses)
    )
    assert len(set(bench.pauses)) == ATTEMPTS - 1  # Random: several runs do not return together.


def test_a_job_whose_answer_was_lost_is_not_made_twice(busy: BusySageMaker, bench: Bench) -> None:
    # As if the first attempt had made the job and answered 500: the second finds the name taken.
    bench.run(1, wait=False)
    busy.refuse["ListTrainingJobs"] = [(200, {"TrainingJobSummaries": []})]
    busy.refuse["CreateTrainingJob"] = [refusal("InternalFailure", "lost", 500)]

    assert bench.run(1)["City_0"].error is None
    assert len(busy.jobs) == 1


def test_without_wait_all_are_started_and_the_next_run_records(
    busy: BusySageMaker, bench: Bench
) -> None:
    assert bench.run(12, wait=False) == {}
    assert len(busy.jobs) == 12
    assert "12 jobs are under way, 0 are left to start" in bench.notes
    assert not bench.pauses
    for fate in busy.jobs.values():
        fate.looks = 0

    assert len(bench.run(12, wait=False)) == 12
    assert len(busy.jobs) == 12


def test_without_wait_the_quota_ends_the_run(busy: BusySageMaker, bench: Bench) -> None:
    busy.quota = 4
    assert bench.run(6, wait=False) == {}
    assert "4 jobs are under way, 2 are left to start" in bench.notes
    for fate in busy.jobs.values():
        fate.looks = 0

    assert set(bench.run(6, wait=False)) == {f"City_{i}" for i in range(4)}
    assert len(busy.jobs) == 6


def test_without_wait_at_once_holds_too(busy: BusySageMaker, bench: Bench) -> None:
    bench.run(5, wait=False, at_once=2)
    bench.run(5, wait=False, at_once=2)

    assert len(busy.jobs) == busy.most_running == 2


def test_without_wait_failures_of_all_runs_count(busy: BusySageMaker, bench: Bench) -> None:
    busy.fate_of = lambda name: Fate(looks=0, status="Failed", reason="InternalServerError")

    assert [len(bench.run(1, wait=False, retries=1)) for _ in range(3)] == [0, 0, 1]
    assert bench.records[0].error == "InternalServerError"
    assert len(busy.jobs) == 2
