"""What the server tells the processes that load models: the settings that concern them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mme_handler.models.archive import Archive, inspect
from mme_handler.settings import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """The container's settings for its models; a model's own ``mme.toml`` may differ."""

    default_accept: str
    max_payload: int
    model_timeout: float
    log_requests: bool
    memory_limit: int
    packages: str
    """Directory in which what models require is installed, each in one of its own."""
    output: str | None = None
    response_shape: Literal["standard", "aws"] = "standard"
    batch: bool = False
    ensemble: bool = True
    libsvm_index_base: Literal[0, 1] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    allow_pickle: bool = False
    install_requirements: bool = False
    program: str = "inference.py"
    script: str | None = None
    """The code for models that bring none."""

    @property
    def gpu(self) -> int | None:
        """The number of the process's GPU, which is the only one that it sees; None for none."""
        return 0 if self.device == "cuda" else None

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Options:
        """The options in a message of the server."""
        return cls(**message)

    @classmethod
    def from_settings(cls, settings: Settings, memory_limit: int, run: Path) -> Options:
        """The options that `settings` make.

        `memory_limit` is in bytes, for a model with code; `run` is the run directory.
        """
        return cls(
            default_accept=settings.default_accept,
            max_payload=settings.max_payload,
            model_timeout=settings.model_timeout,
            log_requests=settings.log_requests,
            memory_limit=memory_limit,
            packages=str(run / "packages"),
            output=settings.inference_output,
            response_shape=settings.response_shape,
            batch=settings.batch,
            ensemble=settings.inference_ensemble,
            libsvm_index_base=settings.libsvm_index_base,
            device=settings.device,
            allow_pickle=settings.allow_pickle,
            install_requirements=settings.install_requirements,
            program=settings.program,
            script=str(settings.script) if settings.script else None,
        )

    def inspect(self, directory: Path) -> Archive:
        """Find out what the archive unpacked at `directory` holds, as `archive.inspect`."""
        script = Path(self.script) if self.script else None
        return inspect(directory, self.program, script, self.allow_pickle)
