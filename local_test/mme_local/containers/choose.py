"""Which runtime there is."""

from __future__ import annotations

from mme_local.containers import images
from mme_local.containers.docker import DockerRuntime
from mme_local.containers.embedded import EmbeddedRuntime
from mme_local.containers.hosts import JobRuntime
from mme_local.errors import LocalError
from mme_local.settings import LocalSettings


async def choose(settings: LocalSettings) -> JobRuntime:
    """The runtime that the settings ask for; ``auto`` is Docker where it has our image.

    Raises:
        LocalError: Docker was asked for, and there is no engine or no image, and why.
    """
    if settings.runtime == "embedded":
        return EmbeddedRuntime(settings.run, settings.image)
    try:
        runtime = await DockerRuntime.connect(settings.run, settings.image)
    except LocalError:
        if settings.runtime == "docker":
            raise
        return EmbeddedRuntime(settings.run, settings.image)
    if await runtime.labels(settings.image) is not None:
        return runtime
    if settings.runtime == "docker":
        await runtime.close()
        raise LocalError(images.missing(settings.image, settings.image))
    await runtime.close()
    return EmbeddedRuntime(settings.run, settings.image)
