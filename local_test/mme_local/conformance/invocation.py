"""What a model is sent, and what it answers."""

from __future__ import annotations

import hashlib
import re
import statistics
from typing import Final

from mme_local.conformance import clauses
from mme_local.conformance.registry import Doubtful, Unasked, check, expect
from mme_local.conformance.target import Target

_LARGE: Final = 25 * 1000 * 1000
"""Bytes of the largest request, as AWS's 25 MB."""
_TIMES: Final = 50

_HEADERS: Final = {
    "X-Amzn-SageMaker-Target-Model": "region/houses v2.tar.gz",
    "X-Amzn-SageMaker-Target-Variant": "AllTraffic",
    "X-Amzn-SageMaker-Target-Container-Hostname": "first",
    "X-Amzn-SageMaker-Inference-Id": "a0b1c2d3-e4f5",
    "X-Amzn-SageMaker-Enable-Explanations": "`true`",
    "X-Amzn-SageMaker-Inference-Component": "component",
    "X-Amzn-SageMaker-Session-Id": "a0b1c2d3",
    "X-Amzn-SageMaker-Header-Of-Tomorrow": "x" * 1000,
    "X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678",
    "X-Nobody-Knows": "1",
}


@check("invocation.answers", clauses.SIXTY_SECONDS, f"{_TIMES} invocations are 200, each in 60 s")
def answers(target: Target) -> str:
    """With the payload that every model is said to answer."""
    server = target.server()
    model = server.add()
    times = [server.expect_answers(model, f"{n}").seconds for n in range(1, _TIMES + 1)]
    return f"median {statistics.median(times) * 1e3:.1f} ms, at most {max(times) * 1e3:.0f} ms"


@check("invocation.headers", clauses.HEADERS, "headers of SageMaker, known or not, change nothing")
def headers(target: Target) -> str:
    """The answer is the same with them and without."""
    server = target.server()
    model = server.add()
    plain = server.expect_answers(model, "without them")
    answer = server.invoke(model, headers=_HEADERS)
    expect(answer.status == 200, f"with {len(_HEADERS)} headers: {answer}")
    expect(answer.content == plain.content, "with them it answers something else")
    return f"{len(_HEADERS)} headers, the same answer"


@check(
    "invocation.custom-attributes",
    clauses.CUSTOM_ATTRIBUTES,
    "custom attributes of 1,024 characters are taken",
)
def custom_attributes(target: Target) -> str:
    """All visible characters of ASCII are among them."""
    server = target.server()
    model = server.add()
    visible = "".join(map(chr, range(0x21, 0x7F)))
    value = (visible * 11)[:1024]
    answer = server.invoke(model, headers={"X-Amzn-SageMaker-Custom-Attributes": value})
    expect(answer.status == 200, str(answer))
    return str(answer)


@check("invocation.accept", clauses.BODY, "the answer is of the type that is accepted")
def accept(target: Target) -> str:
    """A client reads the answer by it."""
    server = target.server()
    answer = server.expect_answers(server.add(), "the payload")
    wanted, got = (
        each.split(";")[0].strip() for each in (server.payload.accept, answer.content_type)
    )
    text = f"Accept: {wanted}, Content-Type: {got or 'none'}"
    if wanted != "*/*" and got != wanted:
        raise Doubtful(text)
    return text


@check("invocation.bytes", clauses.BODY, "a model gets the bytes that were sent")
def unmodified(target: Target) -> str:
    """By a model with code that answers the digest of what it got."""
    server = target.server()
    model = server.models.echo()
    if model is None or not server.models.own:
        raise Unasked("only the suite's own model with code can tell: leave out --models")
    answer = server.load(model)
    body = bytes(range(256)) * 40 + b"\r\n\xff\xfe \n"
    types = {"Content-Type": "application/octet-stream", "Accept": "text/plain"}
    got = server.invoke(model, body, types) if answer.status == 200 else answer
    digest = re.search(r"[0-9a-f]{64}", got.content.decode(errors="replace"))
    if got.status != 200 or digest is None:
        raise Unasked(f"it does not run an archive's code/inference.py with transform_fn: {got}")
    expect(digest[0] == hashlib.sha256(body).hexdigest(), "what arrived is not what was sent")
    return f"{len(body):,} bytes of every value arrived as they were"


@check("invocation.bad-body", clauses.MODEL_ERROR, "a body that is none is 4xx, and harms nobody")
def bad_body(target: Target) -> str:
    """A 5xx tells the client that the container failed."""
    server = target.server()
    model, other = server.add(), server.add()
    bodies = {"garbage": b"\x00\xff<not a body>\x80", "empty": b""}
    seen = {what: server.invoke(model, body) for what, body in bodies.items()}
    for each in (model, other):
        server.expect_answers(each, "after it")
    text = "; ".join(f"{what}: {answer}" for what, answer in seen.items())
    if any(not 400 <= answer.status < 500 for answer in seen.values()):
        raise Doubtful(text)
    return text


@check(
    "invocation.25-mb",
    clauses.PAYLOAD,
    "a body of 25 MB is answered, or is 413, and harms nobody",
)
def large_body(target: Target) -> str:
    """The limit of many servers is a setting: see --env."""
    server = target.server()
    model, other = server.add(), server.add()
    payload = server.payload.body
    body = payload * (_LARGE // len(payload)) if payload else b"\n" * _LARGE
    answer = server.invoke(model, body)
    text = f"{len(body) / 1e6:.0f} MB: {answer.status} in {answer.seconds:.1f} s"
    for each in (model, other):
        server.expect_answers(each, f"{text}; after it")
    expect(answer.status < 500, f"{len(body) / 1e6:.0f} MB: {answer}")
    if answer.status == 413:
        raise Doubtful(f"{text}: set a higher limit with --env, if the image has one")
    return text
