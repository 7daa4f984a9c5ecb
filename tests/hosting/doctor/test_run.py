from __future__ import annotations

import threading

from mme_hosting.aws import AwsError
from mme_hosting.doctor import run
from mme_hosting.doctor.findings import SkipError, ok
from mme_hosting.errors import HostingError
from support.doctor import setup


def raising(error: Exception, before: str = ""):
    def check(_):
        if before:
            yield ok(before)
        raise error

    return check


def test_no_failure_hides_another(monkeypatch):
    checks = {
        "skipped": raising(SkipError("no reason")),
        "denied": raising(AwsError("may not", call="GetRole", code="AccessDenied")),
        "refused": raising(AwsError("cannot", call="GetRole", code="ValidationError")),
        "explained": raising(HostingError("because"), before="this first"),
        "broken": raising(KeyError("bug")),
        "good": lambda _: iter([ok("fine")]),
    }
    monkeypatch.setattr(run, "CHECKS", checks)
    found = [(each.subject, each.status, each.text) for each in run.examine(setup())]
    assert found == [
        ("skipped", "skipped", "no reason"),
        ("denied", "warning", "may not"),
        ("refused", "failed", "cannot"),
        ("explained", "ok", "this first"),
        ("explained", "failed", "because"),
        ("broken", "failed", "this check itself has failed: KeyError: 'bug'"),
        ("good", "ok", "fine"),
    ]


def test_checks_run_side_by_side_and_stay_in_their_order(monkeypatch):
    together = threading.Barrier(3, timeout=10)

    def check(_):
        together.wait()
        yield ok("")

    monkeypatch.setattr(run, "CHECKS", dict.fromkeys("cab", check))
    assert [each.subject for each in run.examine(setup())] == ["c", "a", "b"]


def test_without_credentials_each_check_of_aws_says_so_once(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    found = run.examine(setup(vpc={"subnets": ["subnet-1"], "security_groups": ["sg-1"]}))
    skipped = {each.subject: each.text for each in found if each.status == "skipped"}
    asks_aws = ("role", "bucket", "models", "aliases", "image", "quota", "network")
    assert skipped == dict.fromkeys(asks_aws, "no credentials")
    assert len([each for each in found if each.subject in asks_aws]) == len(asks_aws)
    others = {each.subject: each.status for each in found if each.subject not in asks_aws}
    assert others["credentials"] == "failed"
    assert others["settings"] == others["instance type"] == others["region"] == "ok"


def test_each_subject_has_a_finding():
    found = run.examine(setup(local=True))
    assert {each.subject for each in found} == set(run.CHECKS)
    assert not [each for each in found if "this check itself" in each.text]
