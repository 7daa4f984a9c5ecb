"""`mme metrics` as its users run it, on the real local SageMaker."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from support.hosted import archive, host, mme
from support.local_up import up
from support.serving import until

HOUSE = b"100,3,20,5,48,9"
NOTE = "note: percentiles are not known: the local SageMaker's CloudWatch has none\n"
PAST = datetime.fromtimestamp(time.time() // 600 * 600 - 1770, UTC)
"""Half a minute after a round time, 29 to 40 minutes ago."""


def put(local, name: str, at: datetime, value: float, endpoint: str = "houses") -> None:
    dimensions = {"EndpointName": endpoint, "VariantName": "main"}
    datum = {
        "MetricName": name,
        "Timestamp": at,
        "Value": value,
        "Dimensions": [{"Name": key, "Value": each} for key, each in dimensions.items()],
    }
    local.client("cloudwatch").put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum])


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with up(tmp_path_factory.mktemp("up")) as running:
        host(running, "houses", {"Chicago_IL.tar.gz": archive()})
        host(running, "idle", {}, variant="other")
        runtime = running.client("sagemaker-runtime")
        for body in (HOUSE, HOUSE, HOUSE, b"1,2"):
            with suppress(runtime.exceptions.ModelError):
                runtime.invoke_endpoint(
                    EndpointName="houses",
                    TargetModel="Chicago_IL.tar.gz",
                    ContentType="text/csv",
                    Body=body,
                )
        for minutes, value in ((0, 2000.0), (0, 4000.0), (2, 9000.0)):
            put(running, "ModelLatency", PAST + timedelta(minutes=minutes), value)
        put(running, "Invocations", PAST, 7.0, endpoint="another")
        until(lambda: all_there(measured(running)), 40, "the metrics")
        yield running


def all_there(found: dict[str, dict]) -> bool:
    """Whether the requests are counted, and the instance was looked at with its model loaded."""
    loaded = found["LoadedModelCount Average"]["maximum"]
    return found["Invocations Sum"]["total"] == 4 and bool(loaded)


def measured(local, *more) -> dict[str, dict]:
    done = mme(local, "metrics", "--name", "houses", "--json", *more)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    return {f"{each['name']} {each['statistic']}": each for each in content["metrics"]}


def test_requests_errors_and_hits_are_counted(local):
    found = measured(local)
    assert found["Invocations Sum"]["unit"] == "count"
    assert found["Invocation4XXErrors Sum"]["total"] == 1
    assert found["Invocation5XXErrors Sum"]["total"] == 0
    hits = found["ModelCacheHit Average"]
    assert hits["unit"] == "%"
    assert len(hits["points"]) > 1 or hits["last"] == 75  # three of four, within one minute
    assert found["ModelLoadingTime Average"]["maximum"] > 0
    assert 0 < found["LoadedModelCount Average"]["maximum"] <= 1


def test_latency_is_in_milliseconds_and_by_the_period(local):
    latency = measured(local)["ModelLatency Average"]
    assert latency["unit"] == "ms"
    first, second = latency["points"][:2]
    begin = PAST.replace(second=0)
    assert first == {"time": begin.isoformat(), "value": 3.0}
    assert second == {"time": (begin + timedelta(minutes=2)).isoformat(), "value": 9.0}
    wider = measured(local, "--period", "600")["ModelLatency Average"]["points"][0]
    assert wider == {"time": begin.isoformat(), "value": pytest.approx(5.0)}


def test_how_far_back(local):
    assert len(measured(local, "--since", "10m")["ModelLatency Average"]["points"]) <= 2
    assert len(measured(local, "--since", "50m")["ModelLatency Average"]["points"]) >= 3


def test_what_a_person_sees(local):
    done = mme(local, "metrics", "--name", "houses", COLUMNS="120")
    shown = done.stdout.decode()
    assert (done.returncode, done.stderr.decode()) == (0, NOTE)
    assert re.match(
        r"houses, variant main, [\d-]+ [\d:]+ to [\d-]+ [\d:]+ UTC, periods of 60 s", shown
    )
    assert re.search(r"  invocations  +\d.* +4 .*█", shown)
    assert re.search(r"  latency p99  +ms *\n", shown)
    assert "GPU" not in shown
    assert "┤" not in shown  # no terminal, no plots
    assert max(map(len, shown.splitlines())) <= 120


def test_plots_where_they_are_asked_for(local):
    shown = mme(local, "metrics", "--name", "houses", "--plot").stdout.decode()
    assert "invocations a minute" in shown
    assert "cache hits in %" in shown
    assert "\x1b" not in shown


def test_a_picture(local, tmp_path):
    file = tmp_path / "metrics.png"
    done = mme(local, "metrics", "--name", "houses", "--png", file)
    assert done.returncode == 0
    assert f"wrote {file}\n" in done.stderr.decode()
    assert file.read_bytes().startswith(b"\x89PNG")


def test_an_endpoint_without_traffic(local):
    done = mme(local, "metrics", "--name", "idle", "--json")
    content = json.loads(done.stdout)
    assert content["variant"] == "other"
    assert not any(each["points"] for each in content["metrics"] if each["name"] == "Invocations")
    assert done.stderr.decode().startswith(
        "CloudWatch knows of no request in the last 1h: values come about a minute after a "
        "request, and an endpoint without traffic has none\n"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--name", "nowhere"), "no endpoint nowhere in us-east-1: mme deploy makes it"),
        (("--name", "houses", "--period", "7"), "CloudWatch has no periods of 7 s: give 60"),
        (("--name", "houses", "--period", "0"), "CloudWatch has no periods of 0 s: give 60"),
        (("--name", "houses", "--since", "30d"), "are 43,200 values, and from 1 to 3,000"),
        (("--name", "houses", "--since", "30s"), "are 0 values, and from 1 to 3,000"),
        (("--name", "houses", "--since", "x"), "'x' is no time"),
        (("--name", "houses", "--since", "4h", "--period", "10"), "only periods of 60 s"),
        (("--name", "houses", "--since", "16d", "--period", "660"), "only periods of 300 s"),
        (("--name", "houses", "--since", "64d", "--period", "3900"), "only periods of 3600 s"),
        (("--name", "houses", "--since", "9999999d", "--period", "864000000"), "for 455 days"),
        (("--name", "houses", "--png", "/none/x.png"), "/none is no directory"),
    ],
)
def test_mistakes(local, options, said):
    done = mme(local, "metrics", *options)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"mme: ")
    assert said in done.stderr.decode()
