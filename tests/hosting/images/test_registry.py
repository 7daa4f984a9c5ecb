from __future__ import annotations

import base64
import hashlib
import json

import pytest

from mme_hosting.errors import HostingError
from mme_hosting.images.registry import DOCKER_MANIFEST, Login, Manifest, Registry
from support.images import digest
from support.registries import OCI_INDEX, fake_registry

BODY = json.dumps({"schemaVersion": 2, "config": {"digest": digest("c")}}).encode()
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
GOOD = (200, {"Content-Type": DOCKER_MANIFEST, "Docker-Content-Digest": DIGEST}, BODY)
LOGIN = Login("somebody", "pass:word")
BASIC = f"Basic {base64.b64encode(b'somebody:pass:word').decode()}"


def test_a_manifest_is_read_with_its_type_whatever_it_is() -> None:
    asked = []

    def answer(request):
        asked.append((request.path, request.headers["Accept"]))
        return GOOD

    with fake_registry(answer) as host:
        found = Registry(host).manifest("team/name", "1.0-cpu")
    assert found == Manifest(DIGEST, DOCKER_MANIFEST, digest("c"))
    assert asked[0][0] == "/v2/team/name/manifests/1.0-cpu"
    assert OCI_INDEX in asked[0][1]


def test_an_index_has_no_configuration() -> None:
    with fake_registry(lambda _: (200, {"Content-Type": OCI_INDEX}, b'{"manifests": []}')) as host:
        found = Registry(host).manifest("name", "tag")
    assert found is not None
    assert (found.media_type, found.config) == (OCI_INDEX, None)


def test_what_is_not_there() -> None:
    with fake_registry(lambda _: (404, {}, b"")) as host:
        assert Registry(host).manifest("name", "tag") is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, {}, b""), "answers 500 for name:tag: try again"),
        ((302, {"Location": "/elsewhere"}, b""), "answers 302"),
        ((403, {}, b""), r"does not let name be read \(403\): log in with `docker login 127"),
        ((401, {"WWW-Authenticate": "Basic"}, b""), r"\(401\): log in"),
        ((401, {"WWW-Authenticate": "Negotiate"}, b""), r"\(401\): log in"),
        ((401, {"WWW-Authenticate": "Bearer"}, b""), "cannot be asked for name"),
        ((200, {"Docker-Content-Digest": digest("0")}, BODY), "is not what the registry says"),
        ((200, {}, b"<html>"), "is not the manifest of an image"),
        ((200, {}, b"[]"), "is not the manifest of an image"),
    ],
)
def test_answers_that_are_no_manifest(answer, reason) -> None:
    with fake_registry(lambda _: answer) as host, pytest.raises(HostingError, match=reason):
        Registry(host).manifest("name", "tag")


def test_a_registry_that_is_not_there() -> None:
    with fake_registry(lambda _: GOOD) as host:
        pass
    with pytest.raises(HostingError, match=f"{host} cannot be asked for name .*: check its"):
        Registry(host).manifest("name", "tag")


def test_name_and_password_are_given_when_asked_for() -> None:
    def answer(request):
        if request.headers.get("Authorization") == BASIC:
            return GOOD
        return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""

    with fake_registry(answer) as host:
        assert Registry(host, LOGIN).manifest("name", "tag")
        with pytest.raises(HostingError, match="ecr:BatchGetImage"):
            Registry(host, Login("AWS", "expired")).manifest("name", "tag")


@pytest.mark.parametrize("key", ["token", "access_token"])
@pytest.mark.parametrize("login", [LOGIN, None])
def test_a_token_is_fetched_where_one_is_asked_for(key, login) -> None:
    asked = []

    def answer(request):
        if request.path.startswith("/token"):
            asked.append((request.path, request.headers.get("Authorization")))
            return 200, {}, json.dumps({key: "the-token"}).encode()
        if request.headers.get("Authorization") == "Bearer the-token":
            return GOOD
        realm = f'realm="http://{request.headers["Host"]}/token",service="s",scope="pull"'
        return 401, {"WWW-Authenticate": f"Bearer {realm}"}, b""

    with fake_registry(answer) as host:
        assert Registry(host, login).manifest("name", "tag")
    assert asked == [("/token?service=s&scope=pull", BASIC if login else None)]


@pytest.mark.parametrize("answer", [(403, {}, b""), (200, {}, b"{}"), (200, {}, b"<html>")])
def test_a_token_that_is_not_given(answer) -> None:
    def refuse(request):
        if request.path.startswith("/token"):
            return answer
        realm = f'realm="http://{request.headers["Host"]}/token"'
        return 401, {"WWW-Authenticate": f"Bearer {realm}"}, b""

    with fake_registry(refuse) as host, pytest.raises(HostingError, match=r"\(401\): log in"):
        Registry(host).manifest("name", "tag")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("localhost", "localhost"),
        ("registry:443", "registry:443"),
        ("http://registry.example.com", "registry.example.com"),
        (
            "https://123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
        ),
    ],
)
def test_addresses(address, host) -> None:
    assert Registry(address).host == host


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("registry", "Docker would take 'registry' for a user of Docker Hub"),
        ("registry.example.com/team", "write its host and port alone"),
        ("ftp://registry.example.com", "write its host and port alone"),
        ("registry.example.com:port", "write its host and port alone"),
        ("user:secret@registry.example.com", "write its host and port alone"),
        ("", "write its host and port alone"),
    ],
)
def test_what_is_no_address(address, reason) -> None:
    with pytest.raises(HostingError, match=reason):
        Registry(address)


def test_a_password_is_never_shown() -> None:
    assert "pass:word" not in repr(LOGIN)


def test_a_configuration_is_fetched_from_where_the_registry_keeps_it():
    """ECR answers with the way to S3, which refuses a request with a login in its head."""
    content = b'{"architecture": "arm64"}'
    heads = []

    def elsewhere(request):
        heads.append(request.headers.get("Authorization"))
        return 200, {}, content

    def answer(request):
        if request.headers.get("Authorization") != BASIC:
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
        return 307, {"Location": f"http://{where}/blob"}, b""

    with fake_registry(elsewhere) as where, fake_registry(answer) as host:
        name = f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert Registry(host, LOGIN).configuration("name", name) == {"architecture": "arm64"}
    assert heads == [None]


@pytest.mark.parametrize("answer", [(404, {}, b""), (200, {}, b"other"), (200, {}, b"[1]")])
def test_a_configuration_that_is_not_what_it_should_be(answer):
    name = f"sha256:{hashlib.sha256(b'[1]').hexdigest()}"
    with (
        fake_registry(lambda _: answer) as host,
        pytest.raises(HostingError, match="does not have the configuration sha256:"),
    ):
        Registry(host).configuration("name", name)
