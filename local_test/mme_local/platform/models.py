"""The models that one container holds: loaded when they are asked for, unloaded for others.

One model is loaded once however many requests wait for it; different models are loaded at the same
time. A model that a request uses, or waits for, is never unloaded.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final

from mme_local.events import Events
from mme_local.platform import errors
from mme_local.platform.artifacts import Artifact, Artifacts, identify
from mme_local.platform.cache import Candidate, victims
from mme_local.platform.container import (
    Answer,
    ContainerClient,
    ContainerGoneError,
    ContainerTimeoutError,
)
from mme_local.platform.model import Model, Owner
from mme_local.settings import PlatformParameters
from mme_local.telemetry.endpoint_metrics import VariantMetrics

_UNLOAD_SECONDS: Final = 60.0
_LOOK_AGAIN_SECONDS: Final = 0.5  # for a model to become idle, when nobody says so
_HELD: Final = (HTTPStatus.OK, HTTPStatus.CONFLICT)  # 409: the container has it


class Models:
    """The models of one container; used on the event loop only.

    Args:
        owner: the instance.
        client: speaks to the container.
        ml: what the container calls its ``/opt/ml``.
        artifacts: the instance's disk.
        parameters: of the platform.
        metrics: of the production variant.
        events: what happens is told there.
        memory_is_high: whether idle models should go before another is loaded.
        cache: whether models stay after they are used.
    """

    def __init__(
        self,
        owner: Owner,
        client: ContainerClient,
        ml: str,
        artifacts: Artifacts,
        parameters: PlatformParameters,
        metrics: VariantMetrics,
        events: Events,
        memory_is_high: Callable[[], bool],
        cache: bool = True,
    ) -> None:
        self._owner = owner
        self._client = client
        self._ml = ml
        self.artifacts = artifacts
        self._parameters = parameters
        self._metrics = metrics
        self._events = events
        self._memory_is_high = memory_is_high
        self._cache = cache
        self._models: dict[str, Model] = {}
        self._slots = asyncio.Semaphore(parameters.parallel_loads)
        self._pressure = asyncio.Lock()  # one model at a time drives others out
        self._idle = asyncio.Event()
        self._posting = 0
        self._ticks = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self.loads = 0
        self.unloads = 0

    # -- What there is ---------------------------------------------------------------------------

    @property
    def loaded(self) -> list[Model]:
        """The models that are loaded, by target model."""
        return sorted(
            (model for model in self._models.values() if model.loaded),
            key=lambda model: model.target,
        )

    def find(self, target: str) -> Model | None:
        """The model, if it is loaded or being loaded, or requests are on their way to it."""
        return self._models.get(target)

    # -- Requests --------------------------------------------------------------------------------

    def hold(self, target: str) -> Model:
        """Note that a request is to use a model; until `release` it is not unloaded."""
        model = self._models.get(target)
        if model is None:
            model = self._models[target] = Model(target, identify(target))
        model.users += 1
        model.uses += 1
        model.last_used = next(self._ticks)
        model.last_used_at = time.time()
        return model

    def release(self, model: Model) -> None:
        """Note that a request has used a model."""
        model.users -= 1
        if model.users:
            return
        self._idle.set()
        if not self._cache:
            self._spawn(self._discard(model))
        elif not model.loaded and model.loading is None:
            self._drop(model)

    async def ensure_loaded(self, model: Model, within: float) -> None:
        """Have a held model loaded.

        Args:
            model: what `hold` gave.
            within: seconds after which the request is not to wait any longer; the load goes on.

        Raises:
            ApiError: ``ModelNotReadyException`` after `within`; what the load ends with.
            ContainerGoneError: the container does not answer.
        """
        if model.loaded:
            return
        if model.loading is None:
            model.loading = self._spawn(self._load(model))
        loading = model.loading
        done, _ = await asyncio.wait({loading}, timeout=max(within, 0))
        if not done:
            raise errors.model_not_ready(model.target, self._owner.endpoint)
        if loading.cancelled():
            raise ContainerGoneError("the instance was stopped")
        loading.result()

    def lost(self, model: Model) -> None:
        """Note that the container says that it does not have a model."""
        if model.loaded:
            model.loaded = False
            self.unloads += 1

    async def make_room(self, but: Model) -> None:
        """Unload idle models because the container had no memory to answer a request."""
        await self._evict(self._parameters.evictions_per_507, but)

    # -- Loading ---------------------------------------------------------------------------------

    async def _load(self, model: Model) -> None:
        try:
            async with asyncio.timeout(self._parameters.load_seconds):
                async with model.lock, self._slots:
                    if not model.loaded:  # an unload may have failed meanwhile
                        await self._load_now(model)
        except (TimeoutError, ContainerTimeoutError):
            raise errors.timed_out(self._owner.endpoint, self._owner.region) from None
        finally:
            model.loading = None
            self._idle.set()
            if not model.users:  # nobody waited so long
                if not model.loaded:
                    self._drop(model)
                elif not self._cache:
                    self._spawn(self._discard(model))

    async def _load_now(self, model: Model) -> None:
        started = time.perf_counter()
        artifact, downloaded = await self.artifacts.fetch(model.target)
        fetched = time.perf_counter()
        if downloaded:
            self._metrics.downloaded(fetched - started)
            gone = await self.artifacts.make_room(lambda target: target in self._models)
            for target in gone:
                self._tell("archive deleted", target)
        answer = await self._admit(model)
        if answer.status not in _HELD and not answer.ok:
            self._tell("load failed", model.target, status=answer.status)
            raise errors.model_error(
                self._owner.endpoint, self._owner.region, answer.status, answer.text
            )
        self._note_loaded(model, artifact, fetched - started, time.perf_counter() - fetched)

    def _note_loaded(
        self, model: Model, artifact: Artifact, fetching: float, loading: float
    ) -> None:
        model.loaded, model.bytes, model.since = True, artifact.bytes, time.time()
        self.loads += 1
        self._metrics.loaded(loading)
        self._tell(
            "model loaded",
            model.target,
            bytes=artifact.bytes,
            download_seconds=round(fetching, 4),
            seconds=round(loading, 4),
        )

    async def _admit(self, model: Model) -> Answer:
        """Load a model, and unload others as long as the container says that it has no room."""
        if self._pressure.locked():  # or it would take the room that another has just made
            async with self._pressure:
                pass
        if self._memory_is_high():
            await self._evict(self._parameters.evictions_per_507, model)
        answer = await self._post(model)
        if answer.status != HTTPStatus.INSUFFICIENT_STORAGE:
            return answer
        async with self._pressure:
            for _ in range(1, self._parameters.load_attempts):
                if not await self._evict(self._parameters.evictions_per_507, model):
                    if not self._others_in_memory(model):
                        break
                    await self._wait_for_idle()
                answer = await self._post(model)
                if answer.status != HTTPStatus.INSUFFICIENT_STORAGE:
                    break
        return answer

    async def _post(self, model: Model) -> Answer:
        self._idle.clear()
        self._posting += 1
        try:
            directory = f"{self._ml}/models/{model.name}/model"
            return await self._client.load(
                model.name, directory, model.target, self._parameters.load_seconds
            )
        finally:
            self._posting -= 1

    def _others_in_memory(self, model: Model) -> bool:
        return self._posting > 0 or any(
            other.loaded for other in self._models.values() if other is not model
        )

    async def _wait_for_idle(self) -> None:
        try:
            await asyncio.wait_for(self._idle.wait(), _LOOK_AGAIN_SECONDS)
        except TimeoutError:
            return

    # -- Unloading -------------------------------------------------------------------------------

    async def _evict(self, count: int, but: Model) -> int:
        """Unload up to `count` idle models; return how many are gone."""
        candidates = [
            Candidate(model.target, model.last_used, model.uses, model.users == 0)
            for model in self._models.values()
            if model.loaded and model is not but and not model.lock.locked()
        ]
        gone = 0
        for target in victims(candidates, len(candidates), self._parameters.eviction):
            if gone == count:
                break
            if model := self._models.get(target):
                gone += await self._unload(model, "memory")
        return gone

    async def _unload(self, model: Model, reason: str, delete: bool = False) -> bool:
        """Unload an idle model; return whether it is gone from memory."""
        async with model.lock:
            if model.users or not model.loaded:
                return False
            model.loaded = False
            started = time.perf_counter()
            try:
                answer = await self._client.unload(model.name, model.target, _UNLOAD_SECONDS)
                gone = answer.ok or answer.status == HTTPStatus.NOT_FOUND
            except (ContainerTimeoutError, ContainerGoneError):
                gone = False
            except BaseException:
                model.loaded = True  # it is not known; if it is gone, its next request says so
                raise
            if not gone:
                model.loaded = True
                return False
            self.unloads += 1
            self._metrics.unloaded(time.perf_counter() - started)
            self._tell("model unloaded", model.target, reason=reason)
            if delete:
                await self.artifacts.delete(model.target)
        if not model.users and model.loading is None:
            self._drop(model)
        return True

    async def _discard(self, model: Model) -> None:
        """Unload a model and delete its archive, as ``ModelCacheSetting=Disabled`` has it."""
        if await self._unload(model, "not cached", delete=True):
            return
        async with model.lock:
            if model.users or model.loaded or model.loading:
                return
            self._drop(model)  # its load has failed: a new request makes another
            await self.artifacts.delete(model.target)

    def _drop(self, model: Model) -> None:
        if self._models.get(model.target) is model:
            del self._models[model.target]

    # -- Around ----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Give up what is being loaded or unloaded."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _tell(self, kind: str, target: str, **fields: object) -> None:
        self._events.emit(
            kind,
            endpoint=self._owner.endpoint,
            variant=self._owner.variant,
            instance=self._owner.instance,
            target_model=target,
            **fields,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # those who waited have it; if none did, it is no news
