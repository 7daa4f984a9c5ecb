"""`mme logs` as its users run it, on the real local SageMaker."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time

import pytest

from support.hosted import archive, host, mme
from support.local_up import MME, environment, up
from support.serving import until

HOUSE = b"100,3,20,5,48,9"
ECHO = """
print("\\x1b]0;owned\\x07loading")
def transform_fn(model, body, content_type, accept, context):
    if body == "fail":
        raise ValueError("as asked")
    print("got", body)
    return "fine"
"""
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def ask(local, target, body=HOUSE):
    runtime = local.client("sagemaker-runtime")
    with contextlib.suppress(runtime.exceptions.ModelError):
        runtime.invoke_endpoint(
            EndpointName="houses", TargetModel=target, ContentType="text/csv", Body=body
        )


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with up(tmp_path_factory.mktemp("up")) as running:
        archives = {"Chicago_IL.tar.gz": archive(), "echo.tar.gz": archive(inference=ECHO)}
        host(running, "houses", archives, MME_LOG_REQUESTS="true")
        ask(running, "Chicago_IL.tar.gz")
        ask(running, "Chicago_IL.tar.gz", b"1,2")
        ask(running, "echo.tar.gz")
        ask(running, "echo.tar.gz", b"fail")
        until(lambda: b"as asked" in mme(running, "logs", "--name", "houses").stdout, 20, "lines")
        yield running


@pytest.fixture
def logs(local):
    return lambda *given, **rest: mme(local, "logs", "--name", "houses", *given, **rest)


def lines(done) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


def test_lines_of_ours_are_shown_by_time_level_model_and_event(logs):
    shown = lines(logs())
    assert re.fullmatch(TIME + r" mme ready on port .*", shown[0])
    loaded, invoked, refused = shown[1:4]
    assert re.fullmatch(TIME + r" INFO    Chicago_IL.tar.gz loaded home=shared .*", loaded)
    assert re.fullmatch(TIME + r" INFO    Chicago_IL.tar.gz invoked request_id=.*", invoked)
    assert re.fullmatch(
        TIME + r" WARNING Chicago_IL.tar.gz invocation refused request_id=\S+ status=400 "
        r'reason="line 1: got 2 values, the model takes 6"',
        refused,
    )
    (failed,) = (number for number, text in enumerate(shown) if " ERROR " in text)
    assert "echo.tar.gz invocation failed" in shown[failed]
    assert shown[failed + 1] == "    Traceback (most recent call last):"
    assert "    ValueError: as asked" in shown


def test_what_a_model_prints_cannot_steer_a_terminal(logs):
    done = logs()
    assert b"\x1b" not in done.stdout
    assert b"\x07" not in done.stdout
    assert rb"text=\x1b]0;owned\x07loading" in done.stdout


def test_lines_of_one_model_with_those_of_its_load(logs):
    shown = lines(logs("--model", "Chicago_IL.tar.gz"))
    assert [re.split(r"\s+", text)[3] for text in shown] == ["loaded", "invoked", "invocation"]
    other = lines(logs("--model", "echo.tar.gz"))
    assert any("printed" in text for text in other)
    assert not any("Chicago" in text for text in other)


def test_errors_alone_and_the_last_lines(logs):
    found = [json.loads(text) for text in lines(logs("--errors", "--json"))]
    assert [each["level"] for each in found] == ["warning", "error"]
    assert found[0]["fields"]["target_model"] == "Chicago_IL.tar.gz"
    last = [json.loads(text) for text in lines(logs("--lines", "1", "--json"))]
    assert last == found[-1:]


def test_all_is_json_that_is_asked_for_as_json(logs):
    found = [json.loads(text) for text in lines(logs("--json"))]
    assert found[0]["message"].startswith("mme ready")
    assert all(each["stream"].startswith("main/i-") for each in found)
    assert sorted(each["time"] for each in found) == [each["time"] for each in found]


def test_one_instance(logs):
    (stream,) = {json.loads(text)["stream"] for text in lines(logs("--json"))}
    assert lines(logs("--instance", stream.partition("/")[2])) == lines(logs())
    other = logs("--instance", "i-0")
    assert other.returncode == 2
    assert other.stderr.startswith(b"mme: no instance i-0 has written: known are i-")


def test_nothing_to_show_is_said(logs):
    none = logs("--model", "None.tar.gz")
    assert (none.returncode, none.stdout) == (0, b"")
    assert re.fullmatch(
        rb"none of the \d+ lines of the last 10m is among those asked for\n", none.stderr
    )


def test_an_endpoint_that_is_not_there(local):
    done = mme(local, "logs", "--name", "nowhere")
    assert done.returncode == 2
    assert done.stderr == b"mme: there is no endpoint nowhere in us-east-1, and no log of one\n"


def test_a_time_that_is_none(logs):
    done = logs("--since", "soon")
    assert (done.returncode, done.stderr[:12]) == (2, b"mme: 'soon' ")


def follow(local, *more, **rest):
    return subprocess.Popen(
        [str(MME), "logs", "--local", "--name", "houses", "--follow", *more],
        env=environment(local.run),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=local.run.parent,
        text=True,
        **rest,
    )


def test_it_follows_until_it_is_interrupted(local):
    with follow(local, "--json", "--model", "echo.tar.gz") as process:
        first = [json.loads(process.stdout.readline()) for _ in range(5)]
        assert first[-1]["fields"]["event"] == "invocation failed"
        for number in range(3):
            ask(local, "echo.tar.gz", b"more %d" % number)
            ask(local, "Chicago_IL.tar.gz")
        texts = []
        while len(texts) < 3:
            fields = json.loads(process.stdout.readline())["fields"]
            assert fields.get("target_model", "echo.tar.gz") == "echo.tar.gz"
            texts += [fields["text"]] if fields["event"] == "printed" else []
        assert texts == ["got more 0", "got more 1", "got more 2"]
        time.sleep(2.5)  # one more look, which finds nothing that was shown
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert all(json.loads(text)["fields"]["event"] == "invoked" for text in rest.splitlines())
    assert said == ""


def test_it_ends_when_nobody_reads_any_more(local):
    with follow(local) as process:
        assert "mme ready" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_it_ends_with_the_pipe_also_without_following(local):
    command = f"{MME} logs --local --name houses | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env={**environment(local.run), "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
        cwd=local.run.parent,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1


def test_of_several_instances_each_line_names_its_own(local, logs):
    group, stream = "/aws/sagemaker/Endpoints/other", "main/i-{}"
    client = local.client("logs")
    client.create_log_group(logGroupName=group)
    now = int(time.time() * 1000)
    for number in (1, 2):
        name = stream.format(number)
        client.create_log_stream(logGroupName=group, logStreamName=name)
        event = {"timestamp": now + number, "message": f"from {number}"}
        client.put_log_events(logGroupName=group, logStreamName=name, logEvents=[event])
    shown = lines(mme(local, "logs", "--name", "other"))  # a log stays without its endpoint
    assert [text.partition("Z ")[2] for text in shown] == ["i-1 from 1", "i-2 from 2"]
