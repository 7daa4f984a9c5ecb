"""What models take, measured on a real server on this machine.

Archives are unpacked and loaded, so the code that they bring is run.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from mme_handler.errors import MmeError
from mme_handler.models.archive import Archive
from mme_handler.models.archive import inspect as inspect_unpacked
from mme_hosting.errors import HostingError
from mme_hosting.fit.archives import Archives, Packed
from mme_hosting.fit.line import Line, fit
from mme_training.archives.check import read_rows
from mme_training.archives.loading import load
from mme_training.archives.pack import CHECK_NAME, ArchiveError, unpack
from mme_training.errors import UserError
from mme_training.server import Server, ServerError, identify

HOSTS: Final = 2
"""Processes for plain models that the server has here."""

_LOADS: Final = {"plain": 200, "code": 20}  # models are loaded again under other names, up to this
_TOTALS: Final = 40  # looks at the memory while they are
_ASKED: Final = 10  # models that are invoked
_SECONDS: Final = 2.0  # of invocations, one after another, and again of several at a time
_AT_ONCE: Final = 8  # a server that has much to do takes less for each
_WARM: Final = 200
_SETTLE: Final = 0.5  # seconds; the server gives memory back so long after an unload
_FULL: Final = 507


@dataclass(frozen=True, slots=True)
class Kind:
    """Models of one kind: plain ones, or those with code, each in a process of its own."""

    archives: int
    memory: Line
    """What the processes take: the proportional set size."""
    charge: Line
    """What the server charges a model with, when it decides whether there is room."""
    load_seconds: tuple[float, float]
    """The median, and what 9 of 10 stay below; from unpacked files."""
    load_cpu: float
    """Seconds of CPU."""


@dataclass(frozen=True, slots=True)
class Invocations:
    """Warm requests of one row."""

    requests: int
    """How many there were, of both kinds."""
    seconds: tuple[float, float]
    """The median, and what 9 of 10 stay below, one after another on one connection."""
    cpu: float
    """Seconds of CPU for each, of all processes of the server, with several at a time."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured."""

    base: int
    """Bytes of the server with no model loaded, after some requests."""
    per_host: int
    """Bytes of it for each process for plain models; it had `HOSTS` of them."""
    kinds: Mapping[str, Kind]
    """By ``plain`` and ``code``."""
    sizes: Mapping[str, tuple[str, int]]
    """The kind and the bytes of model files of each archive that was loaded, by its name."""
    ratio: float
    """Bytes of model files for each byte of an archive."""
    invocations: Invocations | None
    """None if no model had a row to be asked with."""
    failed: Mapping[str, str]
    """Why archives were not loaded, by their name."""


@dataclass(slots=True)
class _Unpacked:
    packed: Packed
    archive: Archive
    rows: list[bytes] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "code" if self.archive.needs_own_process else "plain"


def measure(
    archives: Archives,
    chosen: Sequence[Packed],
    rows: Path | None = None,
    environment: Mapping[str, str] = {},
    say: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Load `chosen` of the `archives` into a real server, and invoke some.

    Args:
        archives: where they are.
        chosen: those to measure.
        rows: CSV file of rows to send; by default each archive's own, or missing values.
        environment: the server's settings.
        say: is told what is being done.

    Raises:
        HostingError: no archive can be loaded, or there is no server to load them into.
        UserError: `rows` holds none, or S3 refuses an archive.
    """
    if rows:
        try:
            read_rows(rows)
        except OSError as error:
            raise HostingError(f"{rows} cannot be read: {error.strerror}") from None
    settings = {**environment, "MME_HOSTS": str(HOSTS)}
    try:
        with tempfile.TemporaryDirectory(prefix="mme-fit-") as scratch:
            place = Path(scratch).resolve()
            models = place / "opt" / "ml" / "models"
            models.mkdir(parents=True)
            failed: dict[str, str] = {}
            found = list(_unpacked(archives, chosen, models, rows, failed, say))
            _check_some(found, failed)
            say("starting a server")
            with Server(models, place / "log", settings={**settings, "MME_HOSTS": "1"}) as server:
                alone = _Tree(server.pid).memory()
            with Server(models, place / "log", settings=settings) as server:
                tree = _Tree(server.pid)
                per_host = max(tree.memory() - alone, 0)
                return _Measuring(server, tree, failed, say).run(found, per_host)
    except ServerError as error:
        raise HostingError(f"the server here: {error}") from None
    except OSError as error:
        raise HostingError(f"the models cannot be unpacked here: {error}") from None


class _Tree:
    """The processes of a server."""

    def __init__(self, pid: int) -> None:
        self._top = psutil.Process(pid)

    def _all(self) -> list[psutil.Process]:
        return [self._top, *self._top.children(recursive=True)]

    def memory(self) -> int:
        """Bytes: of pages that several share, each has its part."""
        total = 0
        for process in self._all():
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total

    def cpu(self) -> float:
        """Seconds of CPU until now, also of processes that have ended."""
        total = 0.0
        for process in self._all():
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])
        return total


class _Measuring:
    """One server, and what is done with it."""

    def __init__(
        self, server: Server, tree: _Tree, failed: dict[str, str], say: Callable[[str], None]
    ) -> None:
        self._server = server
        self._tree = tree
        self._failed = failed
        self._say = say
        self._loads = 0

    def run(self, found: list[_Unpacked], per_host: int) -> Measured:
        good = self._warm_up(found)
        _check_some(good, self._failed)
        base = self._tree.memory()
        kinds = {}
        loaded: dict[str, str] = {}  # the id of a model of each archive that is loaded now
        for kind, most in _LOADS.items():
            of_kind = [each for each in good if each.kind == kind]
            if of_kind:
                kinds[kind] = self._load_all(of_kind, most, loaded)
        return Measured(
            base=base,
            per_host=per_host,
            kinds=kinds,
            sizes={each.packed.name: (each.kind, each.archive.size) for each in good},
            ratio=_sum(e.archive.size for e in good) / _sum(e.packed.size for e in good),
            invocations=self._invoke(good, loaded),
            failed=self._failed,
        )

    def _warm_up(self, found: list[_Unpacked]) -> list[_Unpacked]:
        """Load each archive once, ask it, and unload it; those that could be loaded."""
        good = []
        for number, each in enumerate(found, 1):
            self._say(f"trying model {number} of {len(found)}")
            name = identify(each.packed.name)
            try:
                self._server.load(name, each.archive.directory)
            except ServerError as error:
                self._failed[each.packed.name] = str(error)
                continue
            good.append(each)
            each.rows = [row for row in each.rows if self._answers(name, row)]
            for _ in range(_WARM // len(found) if each.rows else 0):
                self._server.invoke(name, each.rows[0])
            self._server.unload(name)
        time.sleep(2 * _SETTLE)
        return good

    def _answers(self, name: str, row: bytes) -> bool:
        with suppress(ServerError):
            self._server.invoke(name, row)
            return True
        return False

    def _load_all(self, models: list[_Unpacked], most: int, loaded: dict[str, str]) -> Kind:
        """Load models, small ones first, each as often as it takes to come to `most` loads."""
        ordered = sorted(models, key=lambda each: each.archive.size)
        times = max(most // len(ordered), 1)
        sizes: list[int] = []
        seconds: list[float] = []
        totals: list[tuple[int, float]] = []
        names: list[str] = []
        step = max(len(ordered) * times // _TOTALS, 1)
        before, busy, cpu = self._tree.memory(), 0.0, self._tree.cpu()
        for each in (each for each in ordered for _ in range(times)):
            self._loads += 1
            self._say(f"loading {self._loads} models, some of them several times")
            name = identify(f"{self._loads} {each.packed.name}")
            start = time.perf_counter()
            try:
                self._server.load(name, each.archive.directory)
            except ServerError as error:
                if error.status != _FULL or not sizes:
                    raise
                break  # this machine is full: what is loaded has to do
            seconds.append(time.perf_counter() - start)
            sizes.append(each.archive.size)
            names.append(name)
            loaded[each.packed.name] = name
            if len(sizes) % step == 0:
                busy += self._tree.cpu() - cpu
                totals.append((len(sizes), self._tree.memory() - before))
                cpu = self._tree.cpu()
        counted = totals[-1][0] if totals else 0
        if counted < len(sizes):
            busy += self._tree.cpu() - cpu
            totals.append((len(sizes), self._tree.memory() - before))
        charges = self._server.memory()
        charged = np.cumsum([charges[name] for name in names])
        return Kind(
            archives=len(ordered),
            memory=fit(sizes, totals),
            charge=fit(sizes, list(enumerate(charged.tolist(), 1))),
            load_seconds=_quantiles(seconds),
            load_cpu=busy / len(sizes),
        )

    def _invoke(self, good: list[_Unpacked], loaded: Mapping[str, str]) -> Invocations | None:
        able = [each for each in good if each.rows and each.packed.name in loaded]
        asked = able[:: max(len(able) // _ASKED, 1)]
        pairs = [(loaded[each.packed.name], row) for each in asked for row in each.rows]
        if not pairs:
            return None
        self._say("invoking")
        for pair in itertools.islice(itertools.cycle(pairs), _WARM):
            self._server.invoke(*pair)
        seconds = self._ask(pairs)
        cpu = self._tree.cpu()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            turned = [pairs[at % len(pairs) :] + pairs[: at % len(pairs)] for at in range(_AT_ONCE)]
            busy = sum(map(len, pool.map(self._ask, turned)))  # each begins with another model
        cpu = self._tree.cpu() - cpu
        return Invocations(len(seconds) + busy, _quantiles(seconds), cpu / busy)

    def _ask(self, pairs: Sequence[tuple[str, bytes]]) -> list[float]:
        """Seconds that each request took, one after another for a while."""
        seconds: list[float] = []
        start = before = time.perf_counter()
        for name, row in itertools.cycle(pairs):
            self._server.invoke(name, row)
            now = time.perf_counter()
            seconds.append(now - before)
            before = now
            if now - start > _SECONDS:
                break
        return seconds


def _unpacked(
    archives: Archives,
    chosen: Sequence[Packed],
    models: Path,
    rows: Path | None,
    failed: dict[str, str],
    say: Callable[[str], None],
) -> Iterator[_Unpacked]:
    """The archives unpacked below `models`, with rows to send; why, of those that cannot be."""
    for number, packed in enumerate(chosen, 1):
        say(f"unpacking {number} of {len(chosen)}")
        directory = models / identify(packed.name) / "model"
        try:
            with _scratch(models.parent) as scratch:
                unpack(archives.fetch(packed, scratch), directory)
            archive = inspect_unpacked(directory)
            yield _Unpacked(packed, archive, _rows(archive, rows))
        except (ArchiveError, MmeError) as error:
            failed[packed.name] = str(error)


def _rows(archive: Archive, given: Path | None) -> list[bytes]:
    """Bodies of one row each, that a model may be asked with."""
    file = given or archive.directory / CHECK_NAME
    try:
        models = None if archive.script else load(archive)
    except MmeError:
        return []  # the server says so too, and its word counts
    if not file.is_file():
        return [b",".join([b"NaN"] * models.schema.features)] if models else []
    try:
        if models is None:
            found = read_rows(file)
        else:
            found = read_rows(file, models.schema.features, models.schema.names)
    except UserError:
        return []
    return list(found.bodies(1))


def _check_some(good: Sequence[_Unpacked], failed: Mapping[str, str]) -> None:
    if not good:
        name, reason = next(iter(failed.items()))
        raise HostingError(f"none of {len(failed)} archives can be loaded; {name}: {reason}")


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=beside))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _quantiles(values: Sequence[float]) -> tuple[float, float]:
    half, most = np.quantile(np.asarray(values), (0.5, 0.9)).tolist()
    return half, most


def _sum(numbers: Iterator[int]) -> int:
    return max(sum(numbers), 1)
