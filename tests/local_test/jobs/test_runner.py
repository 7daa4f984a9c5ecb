from __future__ import annotations

from support.local_jobs import make_job


def test_a_job_trains(jobs) -> None:
    job = make_job("one")
    jobs.train(job)
    assert job.status == "Completed"
