"""What the local SageMaker's platform adds to a warm invocation.

    .venv/bin/python -m benchmarks.local_platform [--requests 3000] [--models 10]

Starts moto's server and one real ``mme serve``, uploads plain models, and sends one-row requests
one after the other, in turns: straight to the container over a connection that is kept, and through
InvokeEndpoint as the platform answers it. The difference of the medians is the platform's, its HTTP
client with it. Whoever asks is a coroutine of the same process, so the way through the local
SageMaker's own HTTP server is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import io
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import median, quantiles

import httpx

from benchmarks.models import ROW, write_models
from benchmarks.server import HOST, BenchmarkError, free_port
from mme_local.aws.clients import Clients
from mme_local.containers import instance_types
from mme_local.containers.embedded import EmbeddedRuntime
from mme_local.control.records import EndpointRecord, Invocation, ResolvedConfig, ResolvedVariant
from mme_local.platform.context import Context
from mme_local.platform.endpoint import EndpointManager
from mme_local.platform.invoke import Invoker
from mme_local.settings import ROLE_ARN
from mme_local.telemetry.log_streams import LogStreams
from mme_local.telemetry.metrics import Metrics

REGION = "us-east-1"
IMAGE = "xgboost-mme:cpu"
LIMIT_MS = 3.0
HEADERS = {"content-type": "text/csv"}


@contextlib.contextmanager
def aws() -> Iterator[str]:
    """moto's server as a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            url = f"http://{HOST}:{port}"
            for _ in range(600):
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(f"{url}/moto-api/", trust_env=False)
                    break
                time.sleep(0.1)
            else:
                raise BenchmarkError("moto's server does not answer")
            yield url
        finally:
            process.terminate()


def upload(clients: Clients, count: int, directory: Path) -> list[str]:
    """Put `count` models into the bucket; return the target models."""
    s3 = clients.client("s3")
    s3.create_bucket(Bucket="bench")
    targets = []
    for model in write_models(directory, "platform", count):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for file in sorted(model.folder.iterdir()):
                archive.add(file, file.name)
        targets.append(f"{len(targets)}.tar.gz")
        s3.put_object(Bucket="bench", Key=f"many/{targets[-1]}", Body=buffer.getvalue())
    return targets


@contextlib.asynccontextmanager
async def endpoint(clients: Clients, run: Path) -> AsyncIterator[tuple[EndpointManager, Invoker]]:
    """An endpoint in service, as `mme local up` would have it."""
    runtime = EmbeddedRuntime(run, IMAGE)
    metrics, logs = Metrics(clients), LogStreams(clients)
    metrics.start()
    logs.start()
    manager = EndpointManager(
        Context(runtime, clients, REGION, run, instance_types.find, metrics, logs)
    )
    variant = ResolvedVariant(
        "AllTraffic", "m", IMAGE, {}, "s3://bench/many/", True, True, "ml.m5.large", 1, 1.0, None,
        ROLE_ARN,
    )  # fmt: skip
    record = EndpointRecord("bench", "arn", ResolvedConfig("bench", (variant,)))
    try:
        await manager.create(record)
        while record.status == "Creating":
            await asyncio.sleep(0.05)
        if record.status != "InService":
            raise BenchmarkError(str(record.failure_reason))
        yield manager, Invoker(manager)
    finally:
        await manager.close()
        await metrics.close()
        await logs.close()
        await runtime.close()


async def measure(url: str, requests: int, models: int, directory: Path) -> float:
    """Print what was measured; return the platform's share, in milliseconds."""
    clients = Clients(url, REGION)
    targets = await asyncio.to_thread(upload, clients, models, directory / "models")
    async with endpoint(clients, directory / "run") as (manager, invoker):
        instance = manager.endpoints["bench"].variants["AllTraffic"].instances[0]
        for target in targets:
            await invoker.invoke(Invocation("bench", ROW, HEADERS, target))
        names = {model.target: model.name for model in instance.models.loaded}
        direct = http.client.HTTPConnection(instance.url.removeprefix("http://"))
        straight, through = [], []
        for number in range(requests):
            target = targets[number % len(targets)]
            name = names[target]
            before = time.perf_counter()
            direct.request("POST", f"/models/{name}/invoke", ROW, HEADERS)
            direct.getresponse().read()
            between = time.perf_counter()
            await invoker.invoke(Invocation("bench", ROW, HEADERS, target))
            straight.append(1000 * (between - before))
            through.append(1000 * (time.perf_counter() - between))
        direct.close()
    for label, values in (("straight to the container", straight), ("InvokeEndpoint", through)):
        print(f"{label:26} p50 {median(values):6.3f} ms   p99 {quantiles(values, n=100)[98]:6.3f}")
    added = median(through) - median(straight)
    print(f"{'the platform adds':26} p50 {added:6.3f} ms   (limit {LIMIT_MS})")
    return added


def main() -> None:
    """Measure, and fail above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--models", type=int, default=10)
    options = parser.parse_args()
    with aws() as url, tempfile.TemporaryDirectory(prefix="mme-bench-") as directory:
        added = asyncio.run(measure(url, options.requests, options.models, Path(directory)))
    sys.exit(added > LIMIT_MS)


if __name__ == "__main__":
    main()
