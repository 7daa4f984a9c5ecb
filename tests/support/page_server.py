"""A local SageMaker that is only pretended, for the page: the same course for the same seed.

The routes, the events and the JSON are the real ones; what they show is `World`'s. By hand:
``python -m support.page_server`` in ``tests``, and then http://127.0.0.1:8799.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette

from mme_local.events import Events
from mme_local.page.routes import page_routes

MIB = 1 << 20
GIB = 1 << 30
CITIES = """
New_York_NY Los_Angeles_CA Chicago_IL Houston_TX Phoenix_AZ Philadelphia_PA San_Antonio_TX
San_Diego_CA Dallas_TX Austin_TX Jacksonville_FL Fort_Worth_TX Columbus_OH Charlotte_NC
Indianapolis_IN Seattle_WA Denver_CO Boston_MA El_Paso_TX Nashville_TN Detroit_MI
Portland_OR Las_Vegas_NV Memphis_TN Louisville_KY Baltimore_MD Milwaukee_WI Albuquerque_NM
Tucson_AZ Fresno_CA Sacramento_CA Kansas_City_MO Mesa_AZ Atlanta_GA Omaha_NE Raleigh_NC
Miami_FL Long_Beach_CA Oakland_CA Minneapolis_MN Tulsa_OK Tampa_FL Arlington_TX
New_Orleans_LA Wichita_KS Cleveland_OH Bakersfield_CA Aurora_CO Anaheim_CA Honolulu_HI
Riverside_CA Lexington_KY Stockton_CA Henderson_NV Saint_Paul_MN Cincinnati_OH Pittsburgh_PA
Greensboro_NC Anchorage_AK Plano_TX Lincoln_NE Orlando_FL Irvine_CA Newark_NJ Toledo_OH
Durham_NC
""".split()  # noqa: SIM905 - sixty lines otherwise


@dataclass
class Model:
    """A model as the state's ``loaded`` has it."""

    target_model: str
    bytes: int
    since: float
    last_used: float
    in_flight: int = 0

    def shown(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.target_model.encode()).hexdigest()
        return {"hash": digest, **self.__dict__}


@dataclass
class Instance:
    """An instance whose memory holds some of the models."""

    id: str
    room: int
    limit: int = 4 * GIB
    status: str = "InService"
    cpu: float = 0.0
    loaded: dict[str, Model] = field(default_factory=dict)
    on_disk: dict[str, None] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return sum(model.bytes for model in self.loaded.values())

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": self.status,
            "memory_used": 380 * MIB + self.used,
            "memory_limit": self.limit,
            "cpu": round(self.cpu, 3),
            "loaded": [model.shown() for model in self.loaded.values()],
            "on_disk": list(self.on_disk),
        }


class Variant:
    """A variant that invocations by Zipf's law go to, and where the least recent model goes."""

    def __init__(
        self, endpoint: str, name: str, ids: list[str], room: int, models: list[str], world: World
    ) -> None:
        self.endpoint, self.name, self.models, self.world = endpoint, name, models, world
        self.instances = [Instance(each, room) for each in ids]
        self.desired, self.rate = len(ids), 60
        self.hits = self.misses = 0
        self.latencies: list[float] = []
        self._weights = [1 / (rank + 1) ** 1.5 for rank in range(len(models))]

    def tick(self) -> None:
        chance, now = self.world.chance, self.world.now
        self.latencies = self.latencies[-400:]
        for instance in self.instances:
            instance.cpu = 0.35 + 0.5 * chance.random()
            for model in instance.loaded.values():
                model.in_flight = 0
        wave = 1 + 0.5 * math.sin((now - self.world.begun) / 40)
        count = round(self.rate * wave * chance.uniform(0.8, 1.2)) if self.instances else 0
        for name in chance.choices(self.models, self._weights, k=count):
            having = [each for each in self.instances if name in each.loaded]
            instance = chance.choice(
                having if chance.random() < 0.97 and having else self.instances
            )
            if name in instance.loaded:
                self.hits += 1
                self.latencies.append(chance.lognormvariate(0.6, 0.35))
            else:
                self.misses += 1
                self.load(instance, name)
            instance.loaded[name].last_used = now - chance.random() * 0.9
        for instance in self.instances:
            for model in chance.sample([*instance.loaded.values()], min(2, len(instance.loaded))):
                model.in_flight = chance.choice((0, 1, 1, 3))

    def load(self, instance: Instance, name: str, size: int | None = None) -> None:
        """Load a model now, and evict what is least recently used for it."""
        size = size or (12 + hash_of(name) % 130) * MIB
        where = {"endpoint": self.endpoint, "variant": self.name, "instance": instance.id}
        while instance.loaded and instance.used + size > instance.room:
            least = min(instance.loaded.values(), key=lambda model: model.last_used)
            del instance.loaded[least.target_model]
            self.world.emit(
                "model unloaded", target_model=least.target_model, reason="memory", **where
            )
        seconds = round(0.012 + size / MIB / 900 + self.world.chance.random() * 0.05, 4)
        self.latencies.append(seconds * 1000)
        instance.on_disk[name] = None
        instance.loaded[name] = Model(name, size, self.world.now, self.world.now)
        self.world.emit("model loaded", target_model=name, bytes=size, seconds=seconds, **where)

    def shown(self) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        share = lambda part: ordered[int(part * (len(ordered) - 1))] if ordered else None  # noqa: E731
        return {
            "name": self.name,
            "instance_type": "ml.t2.medium",
            "desired": self.desired,
            "instances": [instance.shown() for instance in self.instances],
            "cache": {"hits": self.hits, "misses": self.misses},
            "latency_ms": {"p50": share(0.5), "p99": share(0.99), "count": len(ordered)},
        }


def hash_of(name: str) -> int:
    """A number for a name, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


class World:
    """Endpoints, training jobs, events and logs; `tick` is one second of their course."""

    def __init__(self, now: float, seed: int = 6) -> None:
        self.now = self.begun = now
        self.chance = random.Random(seed)
        self.events = Events()
        self.endpoints: list[tuple[str, str, list[Variant]]] = []
        self.jobs: list[dict[str, Any]] = []
        self.lines: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def busy(self) -> World:
        """Fill it: three endpoints, four training jobs."""
        names = [f"{city}.tar.gz" for city in CITIES]
        eu = [f"v3/{name}" for name in ("Lisboa", "Porto", "Malaga", "Gdansk", "Aarhus", "Graz")]
        blue = Variant("churn", "blue", ["i-0c41d7"], 2 * GIB, [f"{n}.tar.gz" for n in eu], self)
        green = Variant("churn", "green", [], 2 * GIB, blue.models, self)
        green.desired, blue.rate = 1, 6
        houses = Variant("houses", "AllTraffic", ["i-0a93f2"], 3200 * MIB, names, self)
        self.endpoints = [
            ("houses", "InService", [houses]),
            ("churn", "Updating", [blue, green]),
            ("prices-v2", "Creating", []),
        ]
        metrics = {"train:rmse": 21840.4, "validation:rmse": 24107.9}
        self.jobs = [
            self.job("houses-Boise-ID-2026-11-26-12-58-40", "InProgress", "Training", 84, metrics),
            self.job("houses-Reno-NV-2026-11-26-12-58-41", "InProgress", "Downloading", 6, {}),
            self.job("houses-Chicago-IL-2026-11-26-12-40-02", "Completed", "Completed", 131,
                     {"train:rmse": 18220.1, "validation:rmse": 20981.7}),
            self.job("houses-Tampa-FL-2026-11-26-12-40-03", "Failed", "Failed", 12, {})
            | {"failure_reason": "AlgorithmError: column 'PRICE' is not in train/houses.csv"},
        ]  # fmt: skip
        return self

    @staticmethod
    def job(
        name: str, status: str, secondary: str, seconds: float, metrics: dict[str, float]
    ) -> dict[str, Any]:
        return {"name": name, "status": status, "secondary": secondary, "seconds": seconds,
                "metrics": dict(metrics)}  # fmt: skip

    def emit(self, kind: str, **fields: Any) -> None:
        """Emit an event at the world's own time."""
        self.events.emit(kind, time=self.now, **fields)

    def log(self, group: str, stream: str, message: str) -> None:
        """Write a line to a stream."""
        line = {"timestamp": int(self.now * 1000), "message": message}
        self.lines.setdefault((group, stream), []).append(line)

    def scale_out(self) -> None:
        """Start another instance of the first endpoint."""
        variant = self.endpoints[0][2][0]
        variant.instances.append(Instance("i-0b5e18", variant.instances[0].room))
        variant.desired += 1
        endpoint = {"endpoint": variant.endpoint, "variant": variant.name}
        self.emit("instance started", instance="i-0b5e18", seconds=4.2, **endpoint)

    def tick(self) -> None:
        """Let a second pass."""
        self.now += 1
        for name, _, variants in self.endpoints:
            for variant in variants:
                variant.tick()
                for instance in variant.instances:
                    self._log_access(name, variant, instance)
        for job in self.jobs:
            if job["status"] == "InProgress":
                self._train(job)

    def _log_access(self, endpoint: str, variant: Variant, instance: Instance) -> None:
        names = [*instance.loaded]
        if names and self.chance.random() < 0.7:
            name = self.chance.choice(names)
            text = f"INFO  answered 200 in {self.chance.uniform(1, 4):.2f} ms  model={name}"
            if self.chance.random() < 0.06:
                text = f"WARN  answered 415: text/html is not a type of input  model={name}"
            stream = f"{variant.name}/{instance.id}"
            self.log(f"/aws/sagemaker/Endpoints/{endpoint}", stream, text)

    def _train(self, job: dict[str, Any]) -> None:
        job["seconds"] += 1
        job["metrics"] = {key: round(value * 0.998, 1) for key, value in job["metrics"].items()}
        said = "  ".join(f"{key}:{value}" for key, value in job["metrics"].items())
        round_ = int(job["seconds"])
        stream = f"{job['name']}/algo-1-1795698000"
        self.log("/aws/sagemaker/TrainingJobs", stream, f"[{round_}] {said or 'downloading'}")

    def state(self) -> dict[str, Any]:
        return {
            "endpoints": [
                {"name": name, "status": status, "variants": [each.shown() for each in variants]}
                for name, status, variants in self.endpoints
            ],
            "training_jobs": self.jobs,
            "events": list(self.events.recent)[-500:],
            "aws_endpoint": "http://127.0.0.1:40211",
            "version": "0.1.0",
        }

    async def tail(self, group: str, stream: str, after: str | None) -> dict[str, Any]:
        lines = list(itertools.chain.from_iterable(
            lines for (g, s), lines in self.lines.items() if g == group and s.startswith(stream)
        ))  # fmt: skip
        lines.sort(key=lambda line: line["timestamp"])
        return {"events": lines[int(after or 0) :][-500:], "next": str(len(lines))}


class PageServer:
    """The page on loopback, in a thread; it can be stopped and started again at its port."""

    def __init__(self, world: World, port: int = 0) -> None:
        self.world, self.port = world, port
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10), "the page's server has not started"

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        routes = page_routes(self.world.state, self.world.events, self.world, self._stopping)
        config = uvicorn.Config(Starlette(routes=routes), log_level="error")
        self._server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        serving = asyncio.create_task(self._server.serve([listener]))
        while not self._server.started:
            await asyncio.sleep(0.01)
        ready.set()
        await serving
        listener.close()

    def do(self, act: Callable[..., None], *args: Any, **fields: Any) -> None:
        """Call something of the world on the loop, where all that it changes is read."""

        async def on_loop() -> None:
            act(*args, **fields)

        asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(10)

    def stop(self) -> None:
        """Stop, with the page's stream of events open."""
        if self._thread.is_alive():
            self.do(self._stopping.set)
            self._server.should_exit = True
            self._thread.join(10)


@contextmanager
def page_server(world: World, port: int = 0) -> Iterator[PageServer]:
    """Serve the page of a world."""
    server = PageServer(world, port)
    try:
        yield server
    finally:
        server.stop()


def main() -> None:
    """Serve a busy world, in which a second is a second, until Ctrl-C."""
    world = World(time.time() - 300).busy()
    for _ in range(300):
        world.tick()
    with page_server(world, 8799) as server:
        print(server.url)  # noqa: T201
        while True:
            time.sleep(1)
            server.do(world.tick)


if __name__ == "__main__":
    main()
