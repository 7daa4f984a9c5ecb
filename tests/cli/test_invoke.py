"""`mme invoke` as its users run it, on the real local SageMaker."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import re
import struct
import subprocess
import time
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from mme_handler.codecs.recordio_protobuf import make_record_type
from mme_hosting.invoke.request import CONTENT_TYPES
from mme_hosting.models.aliases import FILE
from mme_hosting.models.table import Alias, Table
from support.archives import booster
from support.content_types import MAGIC, READ
from support.hosted import archive, host, mme, put
from support.iam import User
from support.local_up import MME, environment, up
from support.models import csv_of, make_rows

ROWS = make_rows(5, 2)
HOUSE = "100,3,20,5,48,9"
SUMMARY = re.compile(rb"[\d,.]+ ms, variant main, cache: (hit|miss|unknown), request [\w-]+\n")
ECHO = """
def transform_fn(model, body, content_type, accept, context):
    if body == "fail":
        raise ValueError("as \\x1b[31masked")
    if body == "own":
        context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "mine")
    sent = context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes")
    return sent, "text/plain"
"""
SLOW = "import time\ntime.sleep(5)\n"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    soon = {"MME_LOCAL_PLATFORM_MODEL_READY_SECONDS": "2"}
    with up(tmp_path_factory.mktemp("up"), **soon) as running:
        archives = {
            "Chicago_IL.tar.gz": archive(),
            "echo.tar.gz": archive(inference=ECHO),
            "slow.tar.gz": archive(inference=SLOW),
        }
        host(running, "houses", archives)
        yield running


@pytest.fixture
def invoke(local):
    return lambda *given, **rest: mme(local, "invoke", "--name", "houses", *given, **rest)


# -- Bodies ---------------------------------------------------------------------------------------


def expected(rows=ROWS) -> np.ndarray:
    return booster().predict(xgb.DMatrix(rows))


def lists(rows) -> list:
    return [[None if np.isnan(v) else float(v) for v in row] for row in rows]


def numpy_of(rows) -> bytes:
    stream = io.BytesIO()
    np.save(stream, rows)
    return stream.getvalue()


def archive_of(rows) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, rows=rows)
    return stream.getvalue()


def table(rows) -> pa.Table:
    return pa.table({f"f{i}": rows[:, i] for i in range(rows.shape[1])})


def arrow_of(rows) -> bytes:
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table(rows).schema) as writer:
        writer.write_table(table(rows))
    return stream.getvalue()


def parquet_of(rows) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table(rows), stream)
    return stream.getvalue()


def recordio_of(rows) -> bytes:
    body = b""
    for row in rows:
        record = make_record_type()()
        record.features["values"].float32_tensor.values.extend(row.tolist())
        content = record.SerializeToString()
        body += struct.pack("<II", MAGIC, len(content)) + content + b"\0" * (-len(content) % 4)
    return body


def libsvm_of(rows) -> bytes:
    lines = (
        " ".join(["0", *(f"{i}:{float(v)!r}" for i, v in enumerate(row) if not np.isnan(v))])
        for row in rows
    )
    return "\n".join(lines).encode()


BODIES = {
    "text/csv": csv_of,
    "text/libsvm": libsvm_of,
    "application/json": lambda rows: json.dumps(lists(rows)).encode(),
    "application/jsonlines": lambda rows: "\n".join(map(json.dumps, lists(rows))).encode(),
    "application/x-npy": numpy_of,
    "application/x-npz": archive_of,
    "application/vnd.apache.arrow.stream": arrow_of,
    "application/x-parquet": parquet_of,
    "application/x-recordio-protobuf": recordio_of,
}


@pytest.mark.parametrize("suffix", CONTENT_TYPES)
def test_a_file_of_every_suffix_is_answered(invoke, tmp_path, suffix):
    file = tmp_path / f"rows{suffix}"
    file.write_bytes(BODIES[CONTENT_TYPES[suffix]](ROWS))
    done = invoke("Chicago_IL.tar.gz", "--file", file, "--accept", "application/x-npy")
    assert done.returncode == 0, done.stderr
    assert READ["application/x-npy"](done.stdout).tobytes() == expected().tobytes()
    assert SUMMARY.fullmatch(done.stderr)


@pytest.mark.parametrize("accept", READ)
def test_an_answer_of_every_content_type_is_its_bytes(invoke, tmp_path, accept):
    out = tmp_path / "answer"
    written = invoke("Chicago_IL.tar.gz", "--data", HOUSE, "--accept", accept, "--output", out)
    shown = invoke("Chicago_IL.tar.gz", "--data", HOUSE, "--accept", accept)
    told = invoke("Chicago_IL.tar.gz", "--data", HOUSE, "--accept", accept, "--json")
    assert written.stdout == b""
    body = READ[accept](out.read_bytes()).tobytes()
    assert body == expected(np.array([[100, 3, 20, 5, 48, 9]], np.float32)).tobytes()
    assert READ[accept](shown.stdout).tobytes() == body
    content = json.loads(told.stdout)
    text = accept in ("text/csv", "application/json", "application/jsonlines")
    assert content["encoding"] == ("text" if text else "base64")
    raw = content["body"].encode() if text else base64.b64decode(content["body"])
    assert READ[accept](raw).tobytes() == body
    assert content["content_type"] == accept


def test_standard_input(invoke):
    given = invoke("Chicago_IL.tar.gz", "--file", "-", stdin=csv_of(ROWS))
    other = invoke(
        "Chicago_IL.tar.gz",
        *("--file", "-", "--content-type", "application/x-npy"),
        stdin=numpy_of(ROWS),
    )
    assert given.returncode == other.returncode == 0
    assert json.loads(given.stdout) == json.loads(other.stdout)


# -- What is said of it ---------------------------------------------------------------------------


def test_the_first_request_to_a_model_is_a_miss_and_the_next_a_hit(local, invoke):
    for code in ({}, {"inference": ECHO}):
        key = f"new-{len(code)}.tar.gz"
        put(local, "houses", key, archive(**code))
        found = [invoke(key, "--data", HOUSE, "--json") for _ in range(3)]
        assert [json.loads(each.stdout)["cache_hit"] for each in found] == [False, True, True]
        said = [SUMMARY.fullmatch(each.stderr)[1] for each in found]
        assert said == [b"miss", b"hit", b"hit"]
        content = json.loads(found[2].stdout)
        assert content["custom_attributes"] == "model-request=3"
        assert (content["target_model"], content["variant"]) == (key, "main")
        assert content["latency_ms"] > 0


def test_the_models_own_attributes_come_first(invoke):
    done = invoke("echo.tar.gz", "--data", "own", "--attributes", "a=1", "--json")
    content = json.loads(done.stdout)
    assert (content["body"], content["custom_attributes"]) == ("a=1;trace=true", "mine")
    assert content["cache_hit"] is None
    assert b"cache: unknown" in done.stderr


def test_attributes_of_another_form_stay_as_they_are(invoke):
    done = invoke("echo.tar.gz", "--data", "x", "--attributes", '{"a": 1}')
    assert done.stdout == b'{"a": 1}'
    assert b"cache: unknown" in done.stderr


def test_outputs_are_asked_for_by_attributes(invoke):
    done = invoke("Chicago_IL.tar.gz", "--data", HOUSE, "--attributes", "output=margin,score")
    assert set(json.loads(done.stdout)["predictions"][0]) == {"margin", "score"}
    assert b"cache: hit" in done.stderr


def test_a_model_by_its_name(local, invoke):
    alias = Alias(current="Chicago_IL.tar.gz", changed=datetime.now(UTC))
    table = Table(models={"chicago": alias})
    put(local, "houses", FILE, table.model_dump_json().encode())
    done = invoke("chicago", "--data", HOUSE, "--json")
    assert json.loads(done.stdout)["target_model"] == "Chicago_IL.tar.gz", done.stderr
    unknown = invoke("chicgo", "--data", HOUSE)
    assert (unknown.returncode, unknown.stdout) == (2, b"")
    assert b"did you mean chicago?" in unknown.stderr


def on_terminal(local, *arguments: str) -> str:
    """What a terminal shows of `mme invoke`'s standard output."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [str(MME), "invoke", "--local", "--name", "houses", *arguments],
            env=environment(local.run),
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            cwd=local.run.parent,
            check=True,
        )
        os.write(theirs, b"|")
        shown = b""
        while not shown.endswith(b"|"):
            shown += os.read(ours, 10_000)
        return shown.decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_terminal_gets_the_end_of_a_line_and_no_bytes(local):
    assert on_terminal(local, "Chicago_IL.tar.gz", "--data", HOUSE).endswith("]}\r\n|")
    csv = on_terminal(local, "Chicago_IL.tar.gz", "--data", HOUSE, "--accept", "text/csv")
    assert re.fullmatch(r"[\d.]+\r\n\|", csv)
    npy = ("--accept", "application/x-npy")
    assert on_terminal(local, "Chicago_IL.tar.gz", "--data", HOUSE, *npy) == "|"


# -- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "body", "status", "said"),
    [
        (
            "Chicago_IL.tar.gz",
            "1,2",
            1,
            "mme: the model Chicago_IL.tar.gz answers 400: line 1: got 2 values, the model takes 6 "
            "(BadRequestError). See mme logs --errors --model Chicago_IL.tar.gz\n",
        ),
        (
            "echo.tar.gz",
            "fail",
            1,
            "mme: the model echo.tar.gz answers 500: transform_fn of the model failed: ValueError: "
            "as \\x1b[31masked (ModelError). See mme logs --errors --model echo.tar.gz\n",
        ),
        (
            "None.tar.gz",
            "1",
            2,
            "mme: there is no archive s3://sagemaker-us-east-1-123456789012/houses/models/"
            "None.tar.gz, or the execution role may not read it: mme models ls shows what "
            "there is, and mme models add adds one\n",
        ),
    ],
)
def test_what_fails_says_what_to_do(invoke, model, body, status, said):
    done = invoke(model, "--data", body)
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.decode() == said


def test_who_may_not_ask_is_told(local):
    ann = User(local.client("iam"), {})
    options = ("invoke", "Chicago_IL.tar.gz", "--name", "houses", "--data", HOUSE)
    credentials = {"AWS_ACCESS_KEY_ID": ann.key, "AWS_SECRET_ACCESS_KEY": "any"}
    done = mme(local, *options, **credentials)
    assert done.returncode == 2
    assert f"{ann.arn} is not authorized to perform: sagemaker:InvokeEndpoint" in (
        done.stderr.decode()
    )


def test_an_endpoint_that_is_not_there(local):
    done = mme(local, "invoke", "a.tar.gz", "--name", "nowhere", "--data", "1")
    assert done.returncode == 2
    assert done.stderr == b"mme: there is no endpoint nowhere in us-east-1: mme deploy makes it\n"


def test_an_endpoint_that_does_not_serve_yet(local):
    sagemaker = local.client("sagemaker")
    sagemaker.create_endpoint(EndpointName="later", EndpointConfigName="houses")
    try:
        done = mme(local, "invoke", "a.tar.gz", "--name", "later", "--data", "1")
    finally:
        sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName="later", WaiterConfig={"Delay": 1}
        )
        sagemaker.delete_endpoint(EndpointName="later")
    assert done.returncode == 2
    assert (
        b"mme: the endpoint later is Creating, and serves only while it is InService" in done.stderr
    )


@pytest.mark.slow
def test_a_model_that_is_not_ready_is_waited_for(invoke):
    """It takes 5 s to load, and this SageMaker tells a client after 2 s."""
    started = time.monotonic()
    done = invoke("slow.tar.gz", "--data", HOUSE, "--accept", "text/csv")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0
    assert 4 < time.monotonic() - started < 30
    first, second = done.stderr.splitlines()
    assert first == (
        b"the model slow.tar.gz is still being downloaded and loaded: waiting up to 6 minutes"
    )
    assert SUMMARY.fullmatch(second + b"\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give the body: --file, --file - or --data"),
        (("--file", "a.csv", "--data", "1"), "give the body: --file, --file - or --data"),
        (("--file", "none.csv"), "none.csv cannot be read: No such file or directory"),
        (("--file", "none.txt"), "give --content-type"),
        (("--data", "1", "--curl", "--aws"), "give --curl or --aws, not both"),
        (("--data", "1", "--output", "/none/x"), "/none is no directory"),
        (("--data", "1", "--attributes", "a=\n"), "a header cannot carry 'a=\\n'"),
    ],
)
def test_mistakes(invoke, options, said):
    done = invoke("Chicago_IL.tar.gz", *options)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"mme: ")
    assert said in done.stderr.decode()


def test_a_body_that_is_too_large_is_not_sent(invoke, tmp_path):
    file = tmp_path / "rows.csv"
    with file.open("wb") as stream:
        stream.truncate((25 << 20) + 1)
    done = invoke("Chicago_IL.tar.gz", "--file", file)
    assert done.returncode == 2
    assert b"mme: the body has more than the 25 MB that SageMaker takes" in done.stderr


# -- The same for a shell -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["data", "file", "stdin"])
def test_the_line_of_curl_asks_the_same(local, invoke, tmp_path, how):
    file = tmp_path / "it's my rows.csv"
    file.write_text(HOUSE)
    given = {"data": ("--data", HOUSE), "file": ("--file", file), "stdin": ("--file", "-")}[how]
    more = ("--accept", "text/csv", "--attributes", "output=margin; a='b'")
    asked = invoke("Chicago_IL.tar.gz", *given, *more, stdin=HOUSE.encode())
    line = invoke("Chicago_IL.tar.gz", *given, *more, "--curl")
    assert line.stdout.count(b"\n") == 1
    assert (line.returncode, line.stderr) == (0, b"")
    done = subprocess.run(
        ["bash", "-c", line.stdout.decode()],
        input=HOUSE.encode(),
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    assert done.stdout == asked.stdout


def test_the_line_of_curl_fails_as_the_request_does(local, invoke):
    line = invoke("Chicago_IL.tar.gz", "--data", "1,2", "--curl").stdout.decode()
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=False)
    assert done.returncode == 22
    assert b"got 2 values, the model takes 6" in done.stdout
