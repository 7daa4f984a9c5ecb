"""A real `mme serve` keeps the contract, as far as can be asked of a URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mme_local.conformance.models import Payload, find
from mme_local.conformance.registry import Result, Status
from mme_local.conformance.run import run, select
from mme_local.conformance.target import UrlTarget
from support.models import ModelStore
from support.serving import Server

QUICK = ("start", "management.load", "management.get", "management.unload", "invocation.bytes")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield f"http://127.0.0.1:{server.port}"


def bad(results: list[Result]) -> dict[str, str]:
    return {r.check.id: r.seen for r in results if r.status in (Status.FAIL, Status.WARN)}


def test_what_is_quickly_asked(url):
    with UrlTarget(url, [], Payload()) as target:
        results = list(run(target, select(QUICK)))
        assert bad(results) == {}
        assert {r.check.id for r in results if r.status is Status.PASS} >= set(QUICK[1:])
        assert target.server().listed() == {}


def test_models_that_are_given_by_their_directory(url, tmp_path: Path):
    store = ModelStore(tmp_path)
    models = [store() for _ in range(2)]
    given = find(store.root)
    assert {each.parent.name for each in given} == {model.name for model in models}
    with UrlTarget(url, given, Payload(b"50,3,10,2,50,8\n")) as target:
        wanted = ["management.load", "management.load-unusable", "invocation.bytes"]
        loaded, unusable, echoed = run(target, select(wanted))
    assert loaded.status is Status.PASS
    assert unusable.status is echoed.status is Status.SKIPPED
    assert "leave out --models" in unusable.seen


@pytest.mark.slow
def test_everything_that_can_be_asked(url):
    with UrlTarget(url, [], Payload()) as target:
        results = list(run(target, select([])))
    large = next(r for r in results if r.check.id == "invocation.25-mb")
    assert bad(results) == {large.check.id: large.seen}
    assert "413" in large.seen  # the limit is 6 MiB without SAGEMAKER_MAX_PAYLOAD_IN_MB
