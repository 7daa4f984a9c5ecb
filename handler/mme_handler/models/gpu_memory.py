"""Admission to a GPU: whether its memory has room for one more model, before any is allocated.

The shape is that of `memory.Budget`, and so is the rule: what the models are charged with stands
beside what the driver says is in use, and whichever is more counts. A model is charged with a
multiple of its file's size; each process with one CUDA context and with room for its predictions.
Context and multiple are learnt from what the driver showed while models were loaded alone.

The defaults are cautious guesses from XGBoost's source, for no GPU was at hand: a node of a tree is
about 40 bytes on the GPU and in UBJSON, and a CUDA context takes 100 to 400 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mme_handler.errors import OutOfMemoryError
from mme_handler.models.memory import NEAR, Average, Home, megabytes

_CONTEXT: Final = 300 << 20
_FACTORS: Final = {"ubj": 1.5, "json": 1.0}
_SMALLEST: Final = 64 << 10
"""Bytes of a model that its file's size says nothing of: each tree is an allocation of its own."""

# Threads of a host that predict at a time, and bytes of features that a byte of a body makes: in
# CSV, two characters make a float32; a result of the same size beside it.
_SCRATCH_PER_BODY: Final = 8 * (2 + 1)


@dataclass(slots=True)
class _Charge:
    """A model's share."""

    home: Home
    format: str
    size: int
    copies: int
    number: int
    before: int | None
    """Bytes in use when it was admitted; None if they are not told, or another was being loaded."""


class GpuBudget:
    """The bytes that all models together may take on one GPU.

    Args:
        limit: bytes of the GPU.
        body: bytes of the largest request.
        measure: bytes in use on the GPU now; None when that is not told.
    """

    def __init__(self, limit: int, body: int, measure: Callable[[], int | None]) -> None:
        self.limit = limit
        self._scratch = min(_SCRATCH_PER_BODY * body, limit // 8)
        self._measure = measure
        self._charges: dict[object, _Charge] = {}
        self._loading: dict[object, _Charge] = {}
        self._context = Average(_CONTEXT, enough=1)
        self._factor = {format_: Average(factor) for format_, factor in _FACTORS.items()}
        self._counts: dict[Home, int] = {"shared": 0, "isolated": 0}
        self._sizes = dict.fromkeys(_FACTORS, 0)
        self._changes = 0  # admissions and releases: what else went on during a load
        self._warm = False  # the shared host has its context

    @property
    def measured(self) -> int:
        """Bytes in use now, as the driver says; 0 when it does not."""
        return self._measure() or 0

    @property
    def used(self) -> int:
        """Bytes charged: the shared host, and every model."""
        sizes = sum(self._factor[format_].value * size for format_, size in self._sizes.items())
        models = _SMALLEST * sum(self._counts.values()) + int(sizes)
        return models + self._process * (1 + self._counts["isolated"])

    def admit(self, key: object, home: Home, format_: str, size: int, copies: int = 1) -> None:
        """Charge a model that is about to be loaded.

        Args:
            key: names the model until it is released.
            home: the kind of process it goes to; an isolated one has a CUDA context of its own.
            format_: of its files, ``ubj`` or ``json``.
            size: of its files, in bytes.
            copies: how often it is loaded onto this GPU.

        Raises:
            OutOfMemoryError: there is no room; nothing is charged.
        """
        before = self._measure()
        charge = _Charge(home, format_, size, copies, self._changes + 1, before)
        needed = self._amount(charge)
        # Of what is being loaded nothing may show in what is measured yet. Nor may the host's room
        # for predictions, and its context while no model has been there.
        coming = sum(map(self._amount, self._loading.values()))
        coming += self._scratch if self._warm else self._process
        used = max(self.used, (before or 0) + coming)
        if used + needed > self.limit:
            raise OutOfMemoryError(
                f"no room for this model on the GPU: it needs about {megabytes(needed)}, and "
                f"{megabytes(max(self.limit - used, 0))} of {megabytes(self.limit)} are free; "
                "unload another model first"
            )
        if self._loading:
            charge.before = None
        self._charges[key] = self._loading[key] = charge
        self._count(charge, copies)

    def loaded(self, key: object) -> None:
        """The model is loaded: if nothing else was meanwhile, what it took is learnt from."""
        charge = self._charges.get(key)
        if charge is None:
            return
        fresh = charge.home == "isolated" or not self._warm
        self._warm |= charge.home == "shared"
        if self._loading.pop(key, None) is None:  # loaded before, or another of its workers
            return
        if charge.before is None or charge.number != self._changes or charge.copies > 1:
            return
        after = self._measure()
        if after is None or self.used > NEAR * self.limit:
            return
        taken = max(after - charge.before, 0)
        if fresh:
            self._context.learn(max(taken - self._of_size(charge), 0), 1)
        elif charge.size:
            self._factor[charge.format].learn(taken, charge.size)

    def release(self, key: object) -> None:
        """The model is gone, or was never loaded; unknown keys are ignored."""
        self._loading.pop(key, None)
        charge = self._charges.pop(key, None)
        if charge is not None:
            self._count(charge, -charge.copies)

    def host_ended(self) -> None:
        """The shared host is gone, and its CUDA context with it."""
        self._warm = False

    def __contains__(self, key: object) -> bool:
        return key in self._charges

    def charge(self, key: object) -> int:
        """Bytes that a model is charged with now; 0 for an unknown one."""
        charge = self._charges.get(key)
        return 0 if charge is None else self._amount(charge)

    @property
    def _process(self) -> int:
        return int(self._context.value) + self._scratch

    def _of_size(self, charge: _Charge) -> int:
        return _SMALLEST + int(self._factor[charge.format].value * charge.size)

    def _amount(self, charge: _Charge) -> int:
        own = self._process if charge.home == "isolated" else 0
        return charge.copies * (own + self._of_size(charge))

    def _count(self, charge: _Charge, copies: int) -> None:
        self._changes += 1
        self._counts[charge.home] += copies
        self._sizes[charge.format] += copies * charge.size
