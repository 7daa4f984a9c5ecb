"""What it takes to have an instance's container: what it is to be, its one model, its health."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from mme_local.containers.spec import Container, ContainerSpec
from mme_local.control.records import ResolvedVariant
from mme_local.errors import LocalError
from mme_local.platform import errors
from mme_local.platform.archive import ArchiveError
from mme_local.platform.artifacts import DownloadError, MissingObjectError, download, split_url
from mme_local.platform.container import ContainerClient
from mme_local.platform.context import Context

_POLL_SECONDS: Final = 0.1
_SAFE_PORTS: Final = "25000-25999"  # seen on AWS
_LONGEST_NAME: Final = 24  # of the parts of a container's name that are the client's


class InstanceError(LocalError):
    """An instance cannot be started; the text is the endpoint's FailureReason."""


def spec(
    context: Context,
    endpoint: str,
    variant: ResolvedVariant,
    instance: str,
    ml: Path,
    write_line: Callable[[str], None],
) -> ContainerSpec:
    """The container of an instance, with the environment that AWS gives it."""
    environment = {"AWS_REGION": context.region, "AWS_DEFAULT_REGION": context.region}
    if variant.multi_model:
        environment["SAGEMAKER_MULTI_MODEL"] = "true"
        environment["SAGEMAKER_SAFE_PORT_RANGE"] = _SAFE_PORTS
    parts = (part.lower()[:_LONGEST_NAME] for part in (endpoint, variant.name))
    machine = context.instance_type(variant.instance_type)
    return ContainerSpec(
        name=re.sub(r"[^a-z0-9-]+", "-", "-".join((*parts, instance.removeprefix("i-")))),
        image=variant.image,
        command="serve",
        environment={**variant.environment, **environment},
        ml=ml,
        memory=machine.memory,
        cpus=machine.vcpus,
        write_line=write_line,
    )


async def assume_role(context: Context, variant: ResolvedVariant) -> None:
    """Have a client of the execution role, so that the first download need not wait for it."""
    clients = context.clients.assuming(variant.role_arn)
    with contextlib.suppress(BotoCoreError, ClientError):  # a download says what is wrong
        await asyncio.to_thread(clients.client, "s3")


async def fetch_model(context: Context, variant: ResolvedVariant, ml: Path) -> None:
    """Unpack the one model of an endpoint that is not multi-model.

    Raises:
        InstanceError: it is not there, or is refused.
    """
    url = variant.model_data_url
    bucket, key = split_url(url)
    largest = context.parameters.largest_archive_bytes
    clients = context.clients.assuming(variant.role_arn)
    try:
        await asyncio.to_thread(download, clients, bucket, key, ml / "model", largest)
    except MissingObjectError:
        raise InstanceError(errors.model_data_download_failed(url)) from None
    except ArchiveError as error:
        raise InstanceError(errors.model_data_extract_failed(url, str(error))) from None
    except DownloadError as error:
        raise InstanceError(str(error)) from None


async def wait_healthy(
    context: Context, variant: ResolvedVariant, container: Container, client: ContainerClient
) -> None:
    """Wait until a container answers its health checks.

    Raises:
        InstanceError: it does not in time, or it has ended.
    """
    seconds = variant.startup_seconds or context.parameters.startup_seconds
    ended = asyncio.create_task(container.wait())
    try:
        async with asyncio.timeout(seconds):
            while not await client.healthy(variant.multi_model):
                await asyncio.wait({ended}, timeout=_POLL_SECONDS)
                if ended.done():
                    raise InstanceError(errors.ping_failed(variant.name))
    except TimeoutError:
        raise InstanceError(errors.ping_failed(variant.name)) from None
    finally:
        ended.cancel()
