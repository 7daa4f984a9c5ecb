from __future__ import annotations

import pytest

from mme_hosting.errors import HostingError
from mme_hosting.images.ecr import Ecr
from mme_hosting.images.engine import find
from mme_hosting.images.plan import Plan, Step
from mme_hosting.images.push import push
from mme_hosting.images.registry import DOCKER_MANIFEST, Login, Manifest, Registry
from mme_hosting.images.target import Target
from support.images import FakeEngine, attributes, digest
from support.registries import OCI_INDEX

PUSHED = {"aux": {"Tag": "1-cpu", "Digest": digest("1"), "Size": 10}}
GOOD = Manifest(digest("1"), DOCKER_MANIFEST, digest("c"))


class Holds(Registry):
    def __init__(self, found: Manifest | None, login: Login | None = None) -> None:
        super().__init__("127.0.0.1:5000", login)
        self.found = found

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        return self.found


def engine(*events: dict[str, object]) -> FakeEngine:
    docker = FakeEngine(it=attributes())
    docker.events = [*events]
    return docker


def plan(found: Manifest | None = GOOD, action: str = "push", **options) -> Plan:
    target = Target(Holds(found, options.pop("login", None)), "name", **options)
    image = find(engine(), "it")
    assert image is not None
    return Plan(target, (Step(image, "1-cpu", action, found),), (), ())  # type: ignore[arg-type]


def test_what_was_pushed_is_told_by_tag_and_by_digest() -> None:
    docker = engine(PUSHED)
    (done,) = push(plan(), docker)
    assert docker.tagged == [(digest("c"), "127.0.0.1:5000/name", "1-cpu")]
    assert docker.credentials is None  # the engine's client takes those of docker login
    assert (done.image, done.variant, done.status) == ("it", "cpu", "pushed")
    assert done.uri == "127.0.0.1:5000/name:1-cpu"
    assert done.fixed_uri == f"127.0.0.1:5000/name@{digest('1')}"


def test_what_is_there_is_not_pushed() -> None:
    docker = engine()
    (done,) = push(plan(action="present"), docker)
    assert (done.status, done.digest, docker.tagged) == ("present", digest("1"), [])


def test_the_login_goes_to_the_engine() -> None:
    docker = engine(PUSHED)
    list(push(plan(login=Login("AWS", "token")), docker))
    assert docker.credentials == {"username": "AWS", "password": "token"}


def test_progress_is_told_over_all_layers() -> None:
    def event(layer: str, current: int, total: int | None) -> dict[str, object]:
        detail = {"current": current, **({"total": total} if total else {})}
        return {"id": layer, "status": "Pushing", "progressDetail": detail}

    told: list[tuple[str, int, int]] = []
    docker = engine(
        {"status": "The push refers to repository [name]"},
        {"id": "a", "status": "Preparing", "progressDetail": {}},
        event("a", 10, 100),
        event("b", 512, None),
        event("a", 120, 100),  # what is sent is the archive, and larger than its files
        PUSHED,
    )
    list(push(plan(), docker, lambda *said: told.append(said)))
    assert told == [("1-cpu", 10, 100), ("1-cpu", 522, 100), ("1-cpu", 612, 100)]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "127.0.0.1:5000/name:1-cpu was pushed, and is not there"),
        (Manifest(digest("1"), OCI_INDEX, None), f"of the type {OCI_INDEX}, which CreateModel"),
        (Manifest(digest("2"), DOCKER_MANIFEST, None), f"is {digest('2')} now, .*somebody else"),
    ],
)
def test_what_has_arrived_is_looked_at(found, reason) -> None:
    with pytest.raises(HostingError, match=reason.replace("+", "[+]")):
        list(push(plan(found), engine(PUSHED)))


@pytest.mark.parametrize(
    ("said", "in_ecr", "advice"),
    [
        ("denied: not authorized to perform: ecr:PutImage", True, "Allow .*ecr:PutImage .* name"),
        ("no basic auth credentials", True, "Allow your user or role ecr:InitiateLayerUpload"),
        ("unauthorized: authentication required", False, "docker login 127.0.0.1:5000"),
        ("tag invalid: cannot be overwritten because the tag is immutable", True, "another --tag"),
        ("http: server gave HTTP response to HTTPS client", False, "insecure-registries"),
        ("connection refused", False, "Check the registry and the network"),
    ],
)
def test_what_the_engine_reports_is_said_with_the_next_step(
    said, in_ecr, advice, monkeypatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    ecr = Ecr("us-east-1") if in_ecr else None
    monkeypatch.setattr(Target, "create", lambda _: None)
    docker = engine({"errorDetail": {"message": said}, "error": said})
    with pytest.raises(HostingError, match=f"pushing 127.0.0.1:5000/name:1-cpu failed: {said}"):
        list(push(plan(ecr=ecr), docker))
    with pytest.raises(HostingError, match=advice):
        list(push(plan(ecr=ecr), docker))
