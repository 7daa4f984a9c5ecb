"""Running checks: none stops another, and what is made once is made once."""

from __future__ import annotations

import pytest

from mme_local.conformance import clauses
from mme_local.conformance.models import Payload
from mme_local.conformance.registry import Check, Doubtful, Seen, Status, Unasked, expect
from mme_local.conformance.run import MODULES, run, select
from mme_local.conformance.target import Target, UrlTarget


def check(function, advisory=False) -> Check:
    return Check("a.check", clauses.LOAD, "something", function, advisory)


def raises(error):
    def function(target: Target) -> str:
        raise error

    return function


@pytest.fixture
def target():
    with UrlTarget("http://127.0.0.1:9", [], Payload()) as target:
        yield target


@pytest.mark.parametrize(
    ("function", "advisory", "status", "seen"),
    [
        (lambda _: "fine", False, "pass", "fine"),
        (raises(Seen("a 500")), False, "fail", "a 500"),
        (raises(Seen("a 500")), True, "warn", "a 500"),
        (raises(Doubtful("slow")), False, "warn", "slow"),
        (raises(Unasked("no image")), True, "skipped", "no image"),
        (raises(KeyError("x")), False, "fail", "this check is broken: KeyError: 'x'"),
    ],
)
def test_what_comes_of_a_check(target, function, advisory, status, seen):
    (result,) = run(target, [check(function, advisory)])
    assert (result.status, result.seen) == (status, seen)


def test_a_failing_check_does_not_stop_the_others(target):
    checks = [check(raises(ValueError())), check(lambda _: "fine")]
    assert [result.status for result in run(target, checks)] == [Status.FAIL, Status.PASS]


def test_what_is_made_once_is_made_once(target):
    calls = []

    def make(_: Target) -> str:
        calls.append(1)
        return "made"

    def refuse(_: Target) -> str:
        calls.append(1)
        raise Doubtful("not made")

    assert [target.once("a", make) for _ in range(3)] == ["made"] * 3
    for _ in range(3):
        with pytest.raises(Doubtful, match="not made"):
            target.once("b", refuse)
    assert len(calls) == 2


def test_expect():
    expect(True, "fine")
    with pytest.raises(Seen, match="a 500"):
        expect(False, "a 500")


def test_checks_run_module_by_module():
    modules = [each.id.split(".")[0] for each in select([])]
    assert list(dict.fromkeys(modules)) == [each.__name__.split(".")[-1] for each in MODULES]
    assert [each.id for each in select(["management.load", "start.ping"])] == [
        "start.ping",
        "management.load",
    ]
    assert {each.id.split(".")[0] for each in select(["memory"])} == {"memory"}


@pytest.mark.parametrize("name", ["memory.", "load", "start.pin", ""])
def test_a_check_that_there_is_not(name):
    with pytest.raises(ValueError, match="--list names them all"):
        select([name])


def test_each_check_says_where_it_is_from():
    for each in select([]):
        assert each.clause.url.startswith("https://")
        aws = each.clause.url.startswith("https://docs.aws.amazon.com/sagemaker/")
        assert aws or each.clause.seen_in_practice or each.advisory, each.id
        assert each.clause.text
        assert each.expected
