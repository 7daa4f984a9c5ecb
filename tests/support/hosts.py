"""Hosts of a training job as real processes: on loopback addresses, or each in its own network.

Run as a program this is one host: ``python hosts.py host.json`` does what ``train`` does there, as
far as training by several hosts is concerned.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xgboost as xgb

from mme_training.data.channel import read_channel
from mme_training.distributed import dask_nodes
from mme_training.distributed.job import Cluster, Functions, Job
from mme_training.distributed.run import train_on_hosts
from mme_training.errors import TrainingError
from mme_training.hyperparameters.values import Hyperparameters

DEADLINE = 120.0
"""Seconds after which a host that has not ended never will."""


class Slow(xgb.callback.TrainingCallback):
    """Makes each round last, and leaves a mark when rounds go by."""

    def __init__(self, seconds: float, mark: Path) -> None:
        self._seconds = seconds
        self._mark = mark

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        time.sleep(self._seconds)
        if epoch == 2:
            self._mark.touch()
        return False


class Fails(xgb.callback.TrainingCallback):
    """Fails on its only rank, as a full disk would make it."""

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        if epoch == 2:
            raise OSError("no space left on device")
        return False


async def close_and_fail(self: dask_nodes.Scheduler, *arguments: Any, **options: Any) -> None:
    """Close, and fail as Dask's scheduler does when a worker leaves just then."""
    await super(dask_nodes.Scheduler, self).close(*arguments, **options)
    raise RuntimeError("Cannot change state of expiring Timeout")


def make_callbacks(root: Path, seconds: float, fails: bool) -> list[xgb.callback.TrainingCallback]:
    checkpoints = root / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    return [
        xgb.callback.TrainingCheckPoint(checkpoints, name="model", interval=1),
        *([Slow(seconds, root / "under-way")] if seconds else []),
        *([Fails()] if fails else []),
    ]


def make_functions() -> Functions:
    return Functions(metric=bias)


def bias(predictions: Any, matrix: xgb.DMatrix) -> tuple[str, float]:
    return "bias", float(np.mean(predictions - matrix.get_label()))


def last_checkpoint(root: Path, columns: int) -> xgb.Booster | None:
    (root / "columns").write_text(str(columns))
    files = sorted((root / "checkpoints").glob("model_*"), key=lambda path: path.stat().st_mtime_ns)
    return xgb.Booster(model_file=files[-1]) if files else None


def main(settings: dict[str, Any]) -> int:
    logging.basicConfig(format="%(message)s")
    root = Path(settings["root"])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    read = functools.partial(read_channel, content_type=settings["content_type"])
    job = Job(
        hyperparameters=Hyperparameters(**settings["hyperparameters"]),
        read_training=functools.partial(read, root / "train"),
        read_validation=functools.partial(read, root / "validation")
        if settings["validation"]
        else None,
        copies=settings["copies"],
        functions=make_functions,
        callbacks=functools.partial(make_callbacks, root, settings["seconds"], settings["fails"]),
    )
    if settings["fails_to_close"]:
        dask_nodes.Scheduler.close = close_and_fail
    cluster = Cluster(**{**settings["cluster"], "hosts": tuple(settings["cluster"]["hosts"])})
    resume_from = functools.partial(last_checkpoint, root)
    try:
        fitted = train_on_hosts(cluster, job, resume_from=resume_from, stop=stop)
    except TrainingError as error:
        write(root, {"error": str(error), "kind": type(error).__name__})
        return 1
    if fitted is None:
        write(root, {"error": None})
        return 0
    fitted.booster.save_model(root / "model.ubj")
    write(root, {"error": None, "history": fitted.history, "scores": fitted.scores})
    return 0


def write(root: Path, result: dict[str, Any]) -> None:
    (root / "result.json").write_text(json.dumps(result))


@dataclass
class Host:
    """One host: its files, and its process once it is started."""

    name: str
    root: Path
    network: str | None = None
    """The network namespace it lives in."""
    process: subprocess.Popen[str] | None = None

    def put(self, channel: str, text: str, name: str = "part.csv") -> None:
        path = self.root / channel / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that train."""
        return [
            child
            for child in psutil.Process(self.pid).children()
            if any("spawn_main" in part for part in child.cmdline())
        ]

    @property
    def output(self) -> str:
        return (self.root / "stdout").read_text()

    @property
    def log(self) -> str:
        return (self.root / "stderr").read_text()

    @property
    def lines(self) -> list[str]:
        """The lines of metrics that it printed."""
        return [line for line in self.output.splitlines() if line.startswith("[")]

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.root / "result.json").read_text())

    @property
    def model(self) -> xgb.Booster:
        return xgb.Booster(model_file=self.root / "model.ubj")

    def start(self, settings: dict[str, Any]) -> None:
        for name in ("result.json", "under-way"):
            (self.root / name).unlink(missing_ok=True)
        file = self.root / "host.json"
        file.write_text(json.dumps(settings))
        inside = ["ip", "netns", "exec", self.network] if self.network else []
        with (self.root / "stdout").open("w") as out, (self.root / "stderr").open("w") as err:
            self.process = subprocess.Popen(
                [*inside, sys.executable, __file__, str(file)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )

    def wait(self) -> int:
        assert self.process
        return self.process.wait(DEADLINE)

    def await_rounds(self) -> None:
        """Return once training is under way; only of the host of rank 0."""
        self._await(lambda: (self.root / "under-way").exists())

    def await_workers(self) -> None:
        """Return once the processes that train have been started."""
        self._await(lambda: bool(self.workers))

    def _await(self, condition: Callable[[], bool]) -> None:
        assert self.process
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def kill(self) -> None:
        """End all of the host's processes at once, as when its machine fails."""
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.process.wait(DEADLINE)


@dataclass
class Hosts:
    """All hosts of a job, and what they are to do."""

    hosts: list[Host]
    port: int
    hyperparameters: dict[str, Any] = field(
        default_factory=lambda: {
            "booster": {"objective": "reg:squarederror", "max_depth": 3, "nthread": 1},
            "num_round": 8,
        }
    )
    content_type: str = "text/csv"
    workers_per_host: int = 1
    copies: bool = False
    seconds: float = 0.0
    """How much longer each round is to last."""
    fails: bool = False
    fails_to_close: bool = False
    """Whether Dask's scheduler does."""
    patience: float = 60.0

    def __getitem__(self, index: int) -> Host:
        return self.hosts[index]

    def start(self, hosts: Sequence[Host] | None = None) -> None:
        """Start `hosts`; default: all."""
        validation = any((host.root / "validation").exists() for host in self.hosts)
        for host in self.hosts if hosts is None else hosts:
            cluster = {
                "hosts": [other.name for other in self.hosts],
                "current_host": host.name,
                "workers_per_host": self.workers_per_host,
                "port": self.port,
                "patience": self.patience,
            }
            host.start(
                {
                    "root": str(host.root),
                    "cluster": cluster,
                    "hyperparameters": self.hyperparameters,
                    "content_type": self.content_type,
                    "validation": validation,
                    "copies": self.copies,
                    "seconds": self.seconds,
                    "fails": self.fails,
                    "fails_to_close": self.fails_to_close,
                }
            )

    def run(self) -> list[int]:
        """Start all hosts and wait for them; their exit statuses."""
        self.start()
        return [host.wait() for host in self.hosts]

    def log(self) -> str:
        """Of all hosts, for the message of an assertion."""
        return "\n".join(f"--- {host.name}\n{host.output}{host.log}" for host in self.hosts)


@contextmanager
def loopback(directory: Path, count: int) -> Iterator[Hosts]:
    """`count` hosts whose names are addresses of this machine; all processes end with this."""
    names = [f"127.0.0.{number}" for number in range(1, count + 1)]
    with socket.socket() as probe:
        probe.bind((names[0], 0))
        port = probe.getsockname()[1]
    hosts = Hosts([_host(directory, name) for name in names], port)
    try:
        yield hosts
    finally:
        for host in hosts.hosts:
            host.kill()


@contextmanager
def namespaces(directory: Path, count: int) -> Iterator[Hosts]:
    """`count` hosts, ``algo-1`` and so on, each with a network of its own, joined by a bridge.

    All processes, networks and names end with this. Needs root.
    """
    prefix = f"mme-{os.getpid()}-{time.monotonic_ns() % 1000000}"
    bridge = f"{prefix}-0"
    names = [f"algo-{number}" for number in range(1, count + 1)]
    hosts = Hosts([_host(directory, name) for name in names], 8786)
    table = "127.0.0.1 localhost\n" + "".join(
        f"10.213.7.{number} {name}\n" for number, name in enumerate(names, start=1)
    )
    made: list[str] = []
    try:
        _ip("netns", "add", bridge)
        made.append(bridge)
        _ip("-n", bridge, "link", "add", "bridge", "type", "bridge")
        _ip("-n", bridge, "link", "set", "bridge", "up")
        for number, host in enumerate(hosts.hosts, start=1):
            host.network = f"{prefix}-{number}"
            _ip("netns", "add", host.network)
            made.append(host.network)
            _names(host.network).mkdir(parents=True)
            (_names(host.network) / "hosts").write_text(table)
            _join(host.network, bridge, number)
        yield hosts
    finally:
        for host in hosts.hosts:
            host.kill()
        for name in made:
            _ip("netns", "delete", name)
            shutil.rmtree(_names(name), ignore_errors=True)


def cut(host: Host) -> None:
    """Take the host from the network, without a word to anybody."""
    assert host.network
    _ip("-n", host.network, "link", "set", "eth0", "down")


def csv(rows: int, seed: int) -> str:
    """Label, four features of 61 values each: few enough for histograms to be exact."""
    random = np.random.default_rng(seed)
    features = random.integers(-30, 31, size=(rows, 4)) / 10
    label = features[:, 0] * 3 + features[:, 1] ** 2 + random.normal(size=rows) / 2
    return "".join(
        f"{value:.3f},{','.join(map(str, row))}\n"
        for value, row in zip(label, features.tolist(), strict=True)
    )


def libsvm(rows: int, columns: int, seed: int) -> str:
    """Rows of which the last of `columns` has a value in each."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(rows):
        values = random.integers(1, 9, size=columns)
        values[0] = 0
        cells = " ".join(f"{number}:{value}" for number, value in enumerate(values, 1) if value)
        lines.append(f"{values.sum()} {cells}\n")
    return "".join(lines)


def can_make_namespaces() -> bool:
    return os.geteuid() == 0 and shutil.which("ip") is not None


def _host(directory: Path, name: str) -> Host:
    root = directory / name
    root.mkdir()
    return Host(name, root)


def _names(network: str) -> Path:
    # What `ip netns exec` puts in place of /etc/hosts is here.
    return Path("/etc/netns") / network


def _join(network: str, bridge: str, number: int) -> None:
    port = f"port{number}"
    _ip("-n", network, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", bridge)
    _ip("-n", bridge, "link", "set", port, "master", "bridge", "up")
    _ip("-n", network, "address", "add", f"10.213.7.{number}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip("-n", network, "link", "set", device, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
