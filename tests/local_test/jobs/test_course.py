from __future__ import annotations

import asyncio

import pytest

from mme_local.events import Events
from mme_local.jobs import course
from mme_local.jobs.course import Course
from support.local_jobs import make_job


def _course(*secondaries: str, end: str, reason: str | None = None):
    job, events = make_job("j"), Events()
    moves = Course(job, events)
    for secondary in secondaries:
        moves.move(secondary, f"{secondary} it")
    moves.end(end, reason)
    return job, events


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        ("Completed", "Completed", "Training job completed"),
        ("Failed", "Failed", "Training job failed"),
        ("Stopped", "Stopped", "Training job stopped"),
        (
            "MaxRuntimeExceeded",
            "Stopped",
            "Training job runtime exceeded MaxRuntimeInSeconds provided",
        ),
    ],
)
def test_ends(end: str, status: str, message: str) -> None:
    job, events = _course("Starting", "Downloading", end=end)
    assert (job.status, job.secondary) == (status, end)
    assert job.ended_event.is_set()
    assert [each["Status"] for each in job.transitions] == ["Starting", "Downloading", end]
    assert job.transitions[-1]["StatusMessage"] == message
    assert [event["secondary"] for event in events.recent] == ["Starting", "Downloading", end]
    assert events.recent[-1]["status"] == status


def test_times_follow_each_other() -> None:
    job, _ = _course("Starting", "Downloading", "Training", end="Completed")
    times = [t for each in job.transitions for t in (each["StartTime"], each["EndTime"])]
    assert times == sorted(times)


def test_within_a_status_only_the_message_changes() -> None:
    job, _ = _course(end="Failed", reason="AlgorithmError: x")
    assert job.failure_reason == "AlgorithmError: x"
    job = make_job("j")
    moves = Course(job, Events())
    moves.move(course.STARTING, course.LAUNCHING)
    moves.move(course.STARTING, course.PREPARING)
    assert [each["StatusMessage"] for each in job.transitions] == [course.PREPARING]
    moves.stopping()
    assert (job.status, job.secondary) == ("Stopping", "Stopping")


def test_who_waits_for_the_end_is_woken() -> None:
    async def main() -> None:
        job = make_job("j")
        waiting = asyncio.create_task(job.ended_event.wait())
        await asyncio.sleep(0)
        Course(job, Events()).end("Completed")
        assert await asyncio.wait_for(waiting, 1)

    asyncio.run(main())
