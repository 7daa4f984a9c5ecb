"""The services of AWS around SageMaker: a child process on loopback that dies with its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import boto3
import httpx
import psutil
import pytest
from botocore.exceptions import ClientError

from mme_local.errors import LocalError
from support.local_up import child_of_ours, listening, services
from support.serving import until

_PARENT = """
import asyncio, sys
from pathlib import Path
from mme_local.aws.server import AwsServer

async def main():
    server = AwsServer(Path(sys.argv[1]))
    await server.start()
    print(server.endpoint, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("s3", "list_buckets"),
        ("sts", "get_caller_identity"),
        ("iam", "list_roles"),
        ("ecr", "describe_repositories"),
        ("cloudwatch", "list_metrics"),
        ("logs", "describe_log_groups"),
        ("kms", "list_keys"),
    ],
)
def test_services_answer(clients, service, operation):
    assert (
        getattr(clients.client(service), operation)()["ResponseMetadata"]["HTTPStatusCode"] == 200
    )


def test_autoscaling_takes_a_target(clients):
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/houses/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    autoscaling = clients.client("application-autoscaling")
    autoscaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=3)
    found = autoscaling.describe_scalable_targets(ServiceNamespace="sagemaker")
    assert found["ScalableTargets"][0]["MaxCapacity"] == 3


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("sagemaker", lambda client: client.list_models()),
        ("sagemaker-runtime", lambda client: client.invoke_endpoint(EndpointName="x", Body=b"")),
    ],
)
def test_sagemaker_is_not_answered_by_another(server, clients, service, call):
    client = boto3.client(
        service,
        endpoint_url=server.endpoint,
        region_name=clients.region,
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    with pytest.raises(ClientError, match="not at this address but at that of AWS_ENDPOINT_URL_"):
        call(client)


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "named"),
    [
        ("logs", "list_log_anomaly_detectors", {}, "ListLogAnomalyDetectors of logs"),
        ("iam", "get_organizations_access_report", {"JobId": "a" * 36}, "OrganizationsAccess"),
        ("braket", "search_jobs", {"filters": []}, "the service braket"),
    ],
)
def test_what_is_not_there_is_named_once(clients, service, operation, arguments, named):
    with pytest.raises(ClientError, match=rf"does not have .*{named}") as caught:
        getattr(clients.client(service), operation)(**arguments)
    assert "https://docs.getmoto.org" in str(caught.value)
    assert caught.value.response["ResponseMetadata"].get("RetryAttempts", 0) == 0


def test_only_loopback_is_listened_on(server):
    child = child_of_ours()
    assert listening([child, *child.children(recursive=True)]) == {"127.0.0.1"}


def test_no_other_site_may_read_the_answers(server):
    answer = httpx.get(server.endpoint, headers={"Origin": "https://example.com"}, trust_env=False)
    assert "access-control-allow-origin" not in answer.headers


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(LocalError, match=rf"did not start: .*{port}.*\(.*aws.log\)"),
            services(tmp_path, port),
        ):
            pass


def test_it_ends_with_a_parent_that_is_killed(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout
        assert parent.stdout.readline().startswith("http://127.0.0.1:")
        (child,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
    until(lambda: has_ended(child), 10, "the end of the child")


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more; who inherits it may not have collected it yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://elsewhere.example"}, {"host": "elsewhere.example"}],
    ids=["origin", "host"],
)
def test_a_page_of_elsewhere_cannot_write(clients, headers):
    """A form needs no leave of the server: its POST would be done before the browser asks."""
    for path in ("/moto-api/reset", "/houses"):
        answer = httpx.post(clients.endpoint + path, headers=headers, trust_env=False)
        assert answer.status_code == 403
        assert "only programs on this machine" in answer.text
