"""Admission: whether there is room for one more model, before anything is allocated.

Each model is charged with an estimate: an amount for its kind, and a multiple of its file's size.
Both are learnt from the models already loaded, as sums over all of them: what one model is charged
depends on its kind and size alone. Near the limit nothing is learnt: what was refused stays refused
until a model goes, and then there is room for another of its size. Where the limit is the control
group's, what the group really uses stands beside the charges, and whichever is more counts.

The defaults were measured with XGBoost 3.2: a booster takes 1.4 times its UBJSON file; MMS, a
launcher and the bookkeeping take about 0.35 MB a model, and 0.2 MB of the kernel's memory, which
control groups count too; a forked process takes 6 to 11 MB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import psutil

from mme_handler.errors import OutOfMemoryError

Home = Literal["shared", "isolated"]

_FIXED: Final[dict[Home, int]] = {"shared": 560_000, "isolated": 10_000_000}
_FACTORS: Final = {"ubj": 1.4, "json": 1.0}
# While a file is read, its bytes and what the parser makes of them come on top, times its size.
# Room for that is never given away: at the limit, a model must still be readable.
_TRANSIENT: Final = {"ubj": 2.0, "json": 8.0}
_SMALLEST_TRANSIENT: Final = 16 << 20
_SPARE: Final = 24 << 20  # the kernel's share of the server itself, a health check, a shell
# Of what the group really uses, this is never given away: the files being read need their pages.
_FLOOR: Final = 20 << 20
_ENOUGH_SAMPLES: Final = 3
NEAR: Final = 0.9  # of the room for models; above it, nothing is learnt


@dataclass(slots=True)
class _Charge:
    """A model's share; `loading` while its file is being read."""

    home: Home
    format: str
    size: int
    copies: int
    stated: int | None = None
    loading: bool = True

    @property
    def transient(self) -> int:
        return _transient(self.format, self.size)


def _transient(format_: str, size: int) -> int:
    return int(_TRANSIENT[format_] * size)


class Average:
    """A ratio learnt as one sum over another, within a factor of three of the default.

    Until there are `enough` samples it is the default.
    """

    def __init__(self, default: float, enough: int = _ENOUGH_SAMPLES) -> None:
        self._default, self._enough = default, enough
        self._samples, self._amount, self._per = 0, 0.0, 0.0

    def learn(self, amount: float, per: float) -> None:
        """Add `amount` to the one sum and `per` to the other."""
        self._samples += 1
        self._amount += amount
        self._per += per

    @property
    def value(self) -> float:
        """The ratio as known now."""
        if self._samples < self._enough or not self._per:
            return self._default
        return min(max(self._amount / self._per, self._default / 3), self._default * 3)


class MeasuredError(OutOfMemoryError):
    """There would be room by the charges: what was freed may not be back with the system yet."""


class Budget:
    """The bytes that all models together may take.

    Args:
        limit: bytes for the whole server.
        base: bytes that the server takes with no model loaded.
        measure: bytes that the whole server takes now, if the system holds it to `limit`; else 0.
    """

    def __init__(self, limit: int, base: int, measure: Callable[[], int]) -> None:
        self.limit = limit
        self.set_base(base)
        self._measure = measure
        self._charges: dict[object, _Charge] = {}
        self._fixed = {home: Average(fixed) for home, fixed in _FIXED.items()}
        self._factor = {format_: Average(factor) for format_, factor in _FACTORS.items()}
        self._counts: dict[Home, int] = dict.fromkeys(_FIXED, 0)
        self._sizes = dict.fromkeys(_FACTORS, 0)
        self._large: Counter[int] = Counter()  # transients above the smallest, of all models
        self._loading = 0  # transients of the models that are being loaded
        self._stated = 0  # of the models that say themselves what they take

    def set_base(self, base: int) -> None:
        """Set the bytes that the server takes with no model loaded."""
        self.base = base + _SMALLEST_TRANSIENT + _SPARE

    @property
    def used(self) -> int:
        """Bytes charged: the server itself and every model."""
        fixed = sum(self._fixed[home].value * count for home, count in self._counts.items())
        sizes = sum(self._factor[format_].value * size for format_, size in self._sizes.items())
        return self.base + self._more_transient(self._loading) + self._stated + int(fixed + sizes)

    def estimate(self, home: Home, format_: str, size: int) -> int:
        """Bytes that a model is charged with."""
        return int(self._fixed[home].value + self._factor[format_].value * size)

    def admit(
        self,
        key: object,
        home: Home,
        format_: str,
        size: int,
        copies: int = 1,
        stated: int | None = None,
    ) -> None:
        """Charge a model that is about to be loaded.

        Args:
            key: names the model until it is released.
            home: the kind of process it goes to.
            format_: of its files, ``ubj`` or ``json``.
            size: of its files, in bytes.
            copies: how often it is loaded, once for each worker that MMS has for it.
            stated: bytes that the model's own settings say it takes, in place of the estimate.

        Raises:
            MeasuredError: there is no room, though there is by the charges; nothing is charged.
            OutOfMemoryError: there is no room; nothing is charged.
        """
        needed = copies * (self.estimate(home, format_, size) if stated is None else stated)
        loading = self._loading + _transient(format_, size)
        needed += self._more_transient(loading) - self._more_transient(self._loading)
        self._refuse_above(self.used, needed, OutOfMemoryError)
        if measured := self._measure():
            self._refuse_above(measured + _FLOOR, needed, MeasuredError)
        charge = self._charges[key] = _Charge(home, format_, size, copies, stated)
        self._count(charge, copies)
        self._loading += charge.transient
        if charge.transient > _SMALLEST_TRANSIENT:
            self._large[charge.transient] += 1

    def loaded(self, key: object, taken: int | None) -> None:
        """The model is loaded; `taken` is the bytes that were seen to go to it, if any were."""
        charge = self._charges.get(key)
        if charge is None:
            return
        self._settle(charge)
        if taken is None or self.used - self.base > NEAR * (self.limit - self.base):
            return
        if charge.stated is not None:
            return  # counted apart from the others
        if charge.home == "isolated":
            own = self._factor[charge.format].value * charge.size
            self._fixed["isolated"].learn(taken - own, 1)
        elif charge.size:
            self._factor[charge.format].learn(taken, charge.size)

    def release(self, key: object) -> None:
        """The model is gone, or was never loaded; unknown keys are ignored."""
        charge = self._charges.pop(key, None)
        if charge is not None:
            self._settle(charge)
            self._count(charge, -charge.copies)
            if charge.transient > _SMALLEST_TRANSIENT:
                self._large[charge.transient] -= 1
                self._large += Counter()  # drops what has come to zero

    def __contains__(self, key: object) -> bool:
        return key in self._charges

    @property
    def models(self) -> int:
        """How many models are charged."""
        return len(self._charges)

    def charge(self, key: object) -> int:
        """Bytes that a model is charged with now; 0 for an unknown one."""
        charge = self._charges.get(key)
        if charge is None:
            return 0
        if charge.stated is not None:
            return charge.copies * charge.stated
        return charge.copies * self.estimate(charge.home, charge.format, charge.size)

    def _refuse_above(self, used: int, needed: int, kind: type[OutOfMemoryError]) -> None:
        if used + needed > self.limit:
            raise kind(
                f"no room for this model: it needs about {megabytes(needed)}, and "
                f"{megabytes(max(self.limit - used, 0))} of {megabytes(self.limit)} are free; "
                "unload another model first"
            )

    def _count(self, charge: _Charge, copies: int) -> None:
        if charge.stated is None:
            self._counts[charge.home] += copies
            self._sizes[charge.format] += copies * charge.size
        else:
            self._stated += copies * charge.stated

    def _more_transient(self, loading: int) -> int:
        """Bytes kept for reading files besides those in `base`, with `loading` bytes in use."""
        return max(_SMALLEST_TRANSIENT, loading, *self._large) - _SMALLEST_TRANSIENT

    def _settle(self, charge: _Charge) -> None:
        if charge.loading:
            charge.loading = False
            self._loading -= charge.transient


def megabytes(amount: int) -> str:
    """`amount` bytes for a person: ``3.4 MB``."""
    return f"{amount / 1e6:,.1f} MB"


class Cgroup:
    """The memory limit of this process's control group, v2 or v1, and what is used of it."""

    def __init__(
        self, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc/self")
    ) -> None:
        self._directory, self.limit = lowest_limit(
            "memory", "memory.limit_in_bytes", "memory.max", root, proc
        )

    def used(self) -> int:
        """Bytes that cannot be taken back without ending a process: no page cache."""
        if self._directory is None:
            return 0
        try:
            lines = (self._directory / "memory.stat").read_text().splitlines()
        except OSError:
            return 0
        stat = {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}
        if "anon" in stat:  # v2
            return stat["anon"] + stat.get("shmem", 0) + stat.get("kernel", 0)
        # Page tables, stacks and sockets: two tenths of a megabyte for each model.
        kernel = _read_number(self._directory / "memory.kmem.usage_in_bytes") or 0
        return stat.get("total_rss", 0) + stat.get("total_shmem", 0) + kernel


def lowest_limit(
    controller: str, v1_file: str, v2_file: str, root: Path, proc: Path
) -> tuple[Path | None, int | None]:
    """The group whose limit is the lowest of those around this process, and that limit.

    Args:
        controller: name of the controller, as ``memory``.
        v1_file: name of the file with the limit.
        v2_file: its name in control groups v2.
        root: where control groups are mounted.
        proc: directory of this process.
    """
    try:
        lines = (proc / "cgroup").read_text().splitlines()
    except OSError:
        return None, None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, file = root, v2_file
        elif controller in controllers.split(","):
            top, file = root / controller, v1_file
        else:
            continue
        group = top / path.lstrip("/")
        groups = [group, *(parent for parent in group.parents if parent.is_relative_to(top))]
        limits = [(limit, g) for g in groups if (limit := _read_number(g / file)) is not None]
        if limits:
            limit, directory = min(limits, key=lambda pair: pair[0])
            return directory, limit
    return None, None


def _read_number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    # v1 says "no limit" with a number near 2**63.
    return None if text == "max" or int(text) >= 1 << 60 else int(text)


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    return int(psutil.virtual_memory().total)


def own_size(pid: int) -> int:
    """Bytes of a process that are not a file's: what the system cannot take back. Cheap."""
    return _line(Path(f"/proc/{pid}/status"), "RssAnon:")


def shared_size(pid: int) -> int:
    """The same for a process that shares them: of pages that n processes share, 1/n."""
    file = Path(f"/proc/{pid}/smaps_rollup")
    return _line(file, "Pss_Anon:") or _line(file, "Pss:")  # kernels before 5.9 have the second


def _line(file: Path, name: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    found = next((line for line in lines if line.startswith(name)), f"{name} 0 kB")
    return int(found.split()[1]) << 10
