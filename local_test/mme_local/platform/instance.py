"""One instance of a production variant: a container, its health, and the models it holds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

from mme_local.containers.spec import Container, Usage
from mme_local.control.records import ResolvedVariant
from mme_local.errors import LocalError
from mme_local.platform import startup
from mme_local.platform.artifacts import Artifacts
from mme_local.platform.container import Answer, ContainerClient, ContainerGoneError
from mme_local.platform.context import Context
from mme_local.platform.model import Model, Owner
from mme_local.platform.models import Models
from mme_local.platform.startup import InstanceError
from mme_local.telemetry.endpoint_metrics import VariantMetrics

Status = Literal["Starting", "InService", "Unhealthy", "Draining", "Stopped"]

_STOP_SECONDS: Final = 30.0  # AWS's, between SIGTERM and SIGKILL


_log = logging.getLogger(__name__)


class Call:
    """One request on its way through instances: what it waited for, and how long."""

    __slots__ = ("again", "hit", "load_seconds", "model_seconds", "started")

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.hit: bool | None = None
        """Whether the first instance that it came to had its model."""
        self.again = False
        """Whether it is worth sending again."""
        self.load_seconds = 0.0
        self.model_seconds = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since it came."""
        return time.perf_counter() - self.started


class Instance:
    """A container of a production variant, from its start to its end.

    Args:
        context: what it runs on.
        endpoint: the endpoint's name.
        variant: what it is an instance of.
        metrics: of the production variant.
    """

    models: Models

    def __init__(
        self, context: Context, endpoint: str, variant: ResolvedVariant, metrics: VariantMetrics
    ) -> None:
        self.id = f"i-{secrets.token_hex(8)}"
        self.status: Status = "Starting"
        self.routable = False
        self.in_flight = 0
        self.usage: Usage | None = None
        self._context = context
        self._endpoint = endpoint
        self._variant = variant
        self._metrics = metrics
        self._type = context.instance_type(variant.instance_type)
        self._directory = context.run / "endpoints" / endpoint / variant.name / self.id
        self.ml = self._directory / "ml"
        self._log = context.logs.open(
            f"/aws/sagemaker/Endpoints/{endpoint}", f"{variant.name}/{self.id}"
        )
        self._container: Container | None = None
        self._client: ContainerClient | None = None
        self._look = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None

    # -- Start and end ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the container and wait until it is healthy.

        Raises:
            InstanceError: it cannot be, and nothing is left of it.
        """
        try:
            await asyncio.to_thread(self.ml.mkdir, parents=True, exist_ok=True)
            await startup.assume_role(self._context, self._variant)
            if not self._variant.multi_model and self._variant.model_data_url:
                await startup.fetch_model(self._context, self._variant, self.ml)
            try:
                self._container = await self._context.runtime.start(
                    startup.spec(
                        self._context,
                        self._endpoint,
                        self._variant,
                        self.id,
                        self.ml,
                        self._log.write,
                    )
                )
            except LocalError as error:
                raise InstanceError(str(error)) from None
            self._client = ContainerClient(self._container.url)
            self.models = self._make_models(self._container, self._client)
            await startup.wait_healthy(self._context, self._variant, self._container, self._client)
        except BaseException:
            await self.stop()
            raise
        self.status, self.routable = "InService", True

    async def drain(self, within: float) -> None:
        """Take no more requests, answer those under way, and stop."""
        self.routable = False
        if self.status != "Stopped":
            self.status = "Draining"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.in_flight:
                    self._idle.clear()
                    await self._idle.wait()
        await self.stop()

    async def stop(self) -> None:
        """End the container and remove what it leaves; goes on to its end when it is cancelled."""
        if self._stopping is None:
            self.routable, self.status = False, "Stopped"
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        if self._client:
            await self.models.close()
            await self.models.artifacts.close()
        if self._container:
            try:
                await self._container.stop(_STOP_SECONDS)
                await self._container.remove()
            except Exception as error:  # the rest must go all the same
                _log.warning("the container of instance %s is not removed: %s", self.id, error)
        if self._client:
            await self._client.close()
        await self._context.logs.release(self._log)
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def watch(self) -> str:
        """Look at the container's health for as long as it is well; return what is wrong then."""
        assert self._container  # noqa: S101 - it was started
        assert self._client  # noqa: S101
        ended = asyncio.create_task(self._container.wait())
        failures = 0
        try:
            while True:
                await self._measure(self._container)
                await self._pause(ended)
                if ended.done():
                    return f"its container ended with status {ended.result()}"
                if await self._client.healthy(self._variant.multi_model):
                    failures = 0
                    if self.status == "Unhealthy":
                        self.status = "InService"
                    self.routable = self.status == "InService"
                    continue
                failures += 1
                if failures >= self._context.parameters.unhealthy_polls:
                    return f"its container failed {failures} health checks in a row"
        finally:
            self.routable = False
            ended.cancel()

    # -- Requests --------------------------------------------------------------------------------

    async def invoke(
        self, target: str | None, body: bytes, headers: Mapping[str, str], call: Call
    ) -> Answer:
        """Have a model answer a request; load it first if that is needed.

        Raises:
            ApiError: the load does not end well, or not in time.
            ContainerGoneError: the container does not answer.
            ContainerTimeoutError: it takes too long.
        """
        self.in_flight += 1
        try:
            if target is None:
                return await self._predict(None, body, headers, call)
            model = self.models.hold(target)
            try:
                if call.hit is None:
                    call.hit = model.loaded
                if not model.loaded:
                    await self._wait_for_load(target, call)
                answer = await self._predict(model.name, body, headers, call)
                call.again = await self._gives_way(model, answer)
                return answer
            finally:
                self.models.release(model)
        except ContainerGoneError:
            self._suspect()
            raise
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    async def _gives_way(self, model: Model, answer: Answer) -> bool:
        """Whether the request is worth sending again: for want of its model, or of memory."""
        assert self._client  # noqa: S101 - it was started
        if answer.status == 507:
            await self.models.make_room(model)
            return True
        # A model's own code may say 404, too.
        if answer.status != 404 or await self._client.has(model.name):
            return False
        self.models.lost(model)
        return True

    async def _wait_for_load(self, target: str, call: Call) -> None:
        model = self.models.find(target)
        assert model  # noqa: S101 - it is held
        before = time.perf_counter()
        try:
            left = self._context.parameters.model_ready_seconds - call.elapsed
            await self.models.ensure_loaded(model, left)
        finally:
            call.load_seconds += time.perf_counter() - before

    async def _predict(
        self, name: str | None, body: bytes, headers: Mapping[str, str], call: Call
    ) -> Answer:
        assert self._client  # noqa: S101 - it was started
        before = time.perf_counter()
        try:
            return await self._client.invoke(
                name, body, headers, self._context.parameters.invoke_seconds
            )
        finally:
            call.model_seconds += time.perf_counter() - before

    def _suspect(self) -> None:
        """Take no requests until the container has been looked at, which is done at once."""
        if self.status == "InService":
            self.status = "Unhealthy"
        self.routable = False
        self._look.set()

    # -- What it is ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of its container's HTTP server; empty before that is started."""
        return self._container.url if self._container else ""

    def load_of(self, target: str) -> int | None:
        """Requests under way for a model; None if it is neither loaded nor being loaded."""
        if not self._variant.multi_model:
            return self.in_flight
        model = self.models.find(target)
        return model.users if model and (model.loaded or model.loading) else None

    def snapshot(self) -> dict[str, Any]:
        """What the page shows of it."""
        shown: dict[str, Any] = {
            "id": self.id,
            "status": self.status,
            "in_flight": self.in_flight,
            "memory_used": self.usage.memory if self.usage else None,
            "memory_limit": self._type.memory,
            "cpu": self.usage.cpu if self.usage else None,
            "loaded": [],
            "on_disk": [],
        }
        if self._variant.multi_model and self._client:
            shown["loaded"] = [
                {
                    "target_model": model.target,
                    "hash": model.name,
                    "bytes": model.bytes,
                    "since": model.since,
                    "last_used": model.last_used_at,
                    "in_flight": model.users,
                }
                for model in self.models.loaded
            ]
            shown["on_disk"] = sorted(self.models.artifacts.on_disk)
        return shown

    # -- Inside ----------------------------------------------------------------------------------

    def _make_models(self, container: Container, client: ContainerClient) -> Models:
        context, variant = self._context, self._variant
        parameters = context.parameters
        return Models(
            Owner(self._endpoint, variant.name, self.id, context.region),
            client,
            container.ml,
            Artifacts(
                context.clients.assuming(variant.role_arn),
                variant.model_data_url,
                self.ml,
                parameters.disk_bytes,
                parameters.largest_archive_bytes,
            ),
            parameters,
            self._metrics,
            context.events,
            self._memory_is_high,
            variant.cache_models,
        )

    async def _pause(self, ended: asyncio.Task[int]) -> None:
        """Wait until it is time to look again, somebody asks for it, or the container ends."""
        looking = asyncio.create_task(self._look.wait())
        seconds = self._context.parameters.poll_seconds
        try:
            await asyncio.wait({ended, looking}, timeout=seconds, return_when="FIRST_COMPLETED")
        finally:
            looking.cancel()
        self._look.clear()

    async def _measure(self, container: Container) -> None:
        self.usage = usage = await container.usage()
        many = self._variant.multi_model
        disk = self.models.artifacts.bytes / self._context.parameters.disk_bytes
        self._metrics.instance(
            len(self.models.loaded) if many else None,
            usage.cpu if usage else None,
            usage.memory / self._type.memory if usage else None,
            disk,
        )

    def _memory_is_high(self) -> bool:
        high = self._context.parameters.memory_high * self._type.memory
        return self.usage is not None and self.usage.memory > high
