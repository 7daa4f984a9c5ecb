"""Lines for a shell: no secret in them, and nothing that a shell would take apart."""

from __future__ import annotations

import hashlib
import hmac
import re
import shlex
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.invoke.lines import aws_cli, curl
from mme_hosting.invoke.request import Request
from mme_hosting.settings import Deployment

ODD = 'it\'s $(touch x) "`y`" \\n'


@pytest.fixture
def context(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECRETSECRETSECR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    return lambda region="eu-west-1": Context(Deployment(name="houses"), Aws(region))


def request(**more):
    return Request(**{"target": "a/b.tar.gz", "content_type": "text/csv", "data": "1,2", **more})


def test_curl_signs_with_variables(context):
    line = curl(context(), request(), local=False)
    assert "SECRET" not in line.replace("AWS_SECRET_ACCESS_KEY", "")
    assert "very-secret" not in line
    words = shlex.split(line)
    assert words[words.index("--aws-sigv4") + 1] == "aws:amz:eu-west-1:sagemaker"
    assert words[words.index("--user") + 1] == "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"
    assert "X-Amzn-SageMaker-Target-Model: a/b.tar.gz" in words
    expected = "https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/houses/invocations"
    assert words[-1] == expected


def test_in_china_too(context):
    assert curl(context("cn-north-1"), request(), local=False).endswith(
        "https://runtime.sagemaker.cn-north-1.amazonaws.com.cn/endpoints/houses/invocations"
    )


@pytest.mark.parametrize("make", [curl, aws_cli])
def test_a_shell_leaves_every_word_as_it_is(context, make, tmp_path):
    made = request(data=ODD, accept=ODD, attributes=ODD, content_type=ODD)
    line = make(context(), made, local=True, output=ODD)
    # Whatever the program is called with, one word a line.
    shown = subprocess.run(
        ["bash", "-c", 'curl() { printf "%s\\0" "$@"; }; aws() { curl "$@"; }\n' + line],
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    words = shown.stdout.decode().split("\0")
    assert sum(word.endswith(ODD) for word in words) == (5 if make is curl else 4)
    assert list(tmp_path.iterdir()) == []
    assert shown.stderr == b""


def test_names_that_look_like_options_are_none(context):
    line = aws_cli(context(), request(target="-a/1.tar.gz"), local=True, output="-o")
    assert "--target-model=-a/1.tar.gz " in line
    assert line.endswith(" ./-o")


def test_files_and_standard_input(context):
    file, stdin = request(file=Path("my rows.csv")), request(file=Path("-"))
    assert "--data-binary '@my rows.csv'" in curl(context(), file, local=True)
    assert "--data-binary @-" in curl(context(), stdin, local=True)
    assert "--body 'fileb://my rows.csv'" in aws_cli(context(), file, local=True)
    assert "--body fileb:///dev/stdin" in aws_cli(context(), stdin, local=True)


class _Noted(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.server.seen.append((self.path, self.headers.items(), self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"1.5")

    def log_message(self, *_):
        pass


@pytest.fixture
def listener(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Noted) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", address)
        yield server.seen
        server.shutdown()
        thread.join()


def signature_of(path: str, headers: dict[str, str], body: bytes, secret: str) -> str:
    """AWS's signature version 4 of a request, by the headers that it says are signed."""
    given = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=\w+/(.*), ?SignedHeaders=(.*), ?Signature=(\w+)",
        headers["authorization"],
    )
    assert given, headers["authorization"]
    scope, names, _ = given.groups()
    lines = [f"{name}:{' '.join(headers[name].split())}" for name in names.split(";")]
    digest = hashlib.sha256(body).hexdigest()
    canonical = "\n".join(["POST", path, "", *lines, "", names, digest])
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashed])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


@pytest.mark.parametrize("token", ["", "a-token+/="])
def test_curl_signs_as_aws_checks(context, listener, monkeypatch, token):
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    made = request(accept="text/csv", attributes="output=margin; a=b")
    line = curl(context(), made, local=False)
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert done.stdout == b"1.5"
    ((path, items, body),) = listener
    headers = {name.lower(): value for name, value in items}
    assert (path, body) == ("/endpoints/houses/invocations", b"1,2")
    assert headers.get("x-amz-security-token", "") == token
    assert "/eu-west-1/sagemaker/aws4_request," in headers["authorization"]
    signature = headers["authorization"].rpartition("Signature=")[2]
    assert signature == signature_of(path, headers, body, "very-secret")
