"""Each check fails on a server that breaks just what it asks for, and passes on one that does not.

What can be asked of a URL; `test_wrong_images` has what is asked of an image.
"""

from __future__ import annotations

import pytest

from mme_local.conformance.models import Payload
from mme_local.conformance.registry import Result, Status
from mme_local.conformance.run import run, select
from mme_local.conformance.target import UrlTarget

NEEDS_AN_IMAGE = {
    "management.memory-returns",
    "management.processes-return",
    "signals.sigterm",
    "signals.reap",
    "start.bind-to-port",
    "start.root",
    "start.offline",
    "start.not-root",
    "start.read-only",
}


def results_of(url: str, *checks: str) -> dict[str, Result]:
    with UrlTarget(url, [], Payload()) as target:
        return {result.check.id: result for result in run(target, select(checks))}


def test_a_server_that_keeps_the_contract_passes_all_that_can_be_asked_of_a_url(serve):
    results = results_of(serve())
    skipped = {id for id, result in results.items() if result.status is Status.SKIPPED}
    others = {id for id in results if id.startswith(("image.", "memory."))}
    assert skipped == NEEDS_AN_IMAGE | others
    bad = {id: each.seen for id, each in results.items() if each.status in ("fail", "warn")}
    assert not bad
    assert all("--image" in results[id].seen for id in skipped)


FAILS = [
    ("ping", "start.healthy", "503"),
    ("no list", "start.healthy", "GET /models: 404"),
    ("ping", "start.ping", "20 of 20 pings"),
    ("slow ping", "start.ping", "timed out"),
    ("not a list", "start.models", "no list of models"),
    ("lazy", "management.load", "503 not ready"),
    ("twice", "management.load-twice", "200"),
    ("shape", "management.get", "modelName is None"),
    ("get", "management.get-unknown", "200"),
    ("unload", "management.unload-unknown", "200"),
    ("invoke", "management.invoke-unknown", "503"),
    ("list", "management.list", "modelUrl"),
    ("stays", "management.list", "listed that are not loaded"),
    ("no token", "management.pages", "5 of 105 models are not listed"),
    ("overlap", "management.pages", "1 models are listed twice"),
    ("endless", "management.list", "still a nextPageToken"),
    ("stays", "management.unload", "GET after it: 200"),
    ("stays", "management.load-again", "load 2: 409"),
    ("directory is key", "management.opaque-names", "409 that directory is loaded"),
    ("zombie", "management.load-missing", "GET: 200"),
    ("zombie", "management.load-unusable", "GET: 200"),
    ("takes all", "management.load-missing", "POST /models: 200"),
    ("lazy", "invocation.answers", "503"),
    ("headers", "invocation.headers", "400 unknown header"),
    ("attributes", "invocation.custom-attributes", "431"),
    ("bytes", "invocation.bytes", "not what was sent"),
    ("large", "invocation.25-mb", "500 out of memory"),
    ("large harms", "invocation.25-mb", "404"),
    ("one load at a time", "concurrency.loads", "503 busy"),
    ("twice", "concurrency.same-model", "[200, 200, 200, 200]"),
    ("loads stop others", "concurrency.load-and-invoke", "503 not ready"),
    ("stays", "concurrency.churn", "that were unloaded"),
    ("lazy", "concurrency.invocations", "200 of 200 invocations"),
]
WARNS = [
    ("zombie for a moment", "management.load-missing", "a moment later"),
    ("bad body", "invocation.bad-body", "garbage: 500"),
    ("type", "invocation.accept", "Content-Type: application/json"),
]


@pytest.mark.parametrize(
    ("fault", "check", "seen", "status"),
    [(*row, "fail") for row in FAILS] + [(*row, "warn") for row in WARNS],
)
def test_a_server_that_breaks_it(serve, fault, check, seen, status):
    result = results_of(serve(fault), check)[check]
    assert (result.status, seen) == (status, seen if seen in result.seen else result.seen)


def test_every_check_of_a_url_is_seen_to_fail():
    asked = {check.id for check in select([]) if not check.id.startswith(("image.", "memory."))}
    shown = {check for _, check, _ in FAILS + WARNS}
    assert asked - NEEDS_AN_IMAGE - shown == {"start.accept"}  # below


def test_nobody_listens(serve):
    results = results_of("http://127.0.0.1:9", "start", "management.load")
    assert results["start.accept"].status is Status.FAIL
    assert "connect" in results["start.accept"].seen.lower()
    assert results["start.healthy"].status is Status.FAIL
    assert "GET /ping" in results["start.healthy"].seen
    assert results["management.load"].status is Status.FAIL


def test_models_of_others_are_left_alone(serve):
    url = serve()
    with UrlTarget(url, [], Payload()) as others:
        model = others.server().add()
        results = results_of(url, "start.models", "management.list", "concurrency.churn")
        assert results["start.models"].status is Status.WARN
        assert "1 models are loaded" in results["start.models"].seen
        assert results["management.list"].status is Status.PASS
        assert results["concurrency.churn"].status is Status.PASS
        assert others._server.listed() == {model.name: model.url}
