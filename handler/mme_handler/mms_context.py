"""The context that a model's own code gets: MMS's own, with a few names besides.

(https://github.com/awslabs/multi-model-server/blob/master/mms/context.py)
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mms import __version__
from mms.context import Context as MmsContext
from mms.context import RequestProcessor
from mms.metrics.metrics_store import MetricsStore

from mme_handler.errors import ModelLoadError

_MANIFEST = "MAR-INF/MANIFEST.json"


class Headers(dict[str, Any]):
    """A request's headers, found under any spelling: MMS keeps the client's, and we do not."""

    def get(self, key: str, default: Any = None) -> Any:
        """The header of this name."""
        return super().get(key.lower(), default)

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key.lower())

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key.lower() if isinstance(key, str) else key)


class Context(MmsContext):  # type: ignore[misc]
    """What code is told besides its arguments, and where it sets what to answer with.

    Args:
        name: the model's id.
        directory: where its archive is unpacked.
        gpu: the number of its GPU, ``system_properties["gpu_id"]``; None on the CPU.

    Raises:
        ModelLoadError: the archive's manifest cannot be read.
    """

    def __init__(self, name: str, directory: Path, gpu: int | None = None) -> None:
        super().__init__(name, str(directory), _manifest(directory), 1, gpu, __version__)
        self.model_dir = str(directory)
        self.headers: dict[str, str] = {}
        """The request's, with names in lower case; empty while the model is loaded."""
        self.request_id = ""
        self.metrics = MetricsStore(uuid.uuid4(), name)  # accepted, and dropped

    def begin(
        self,
        request_id: str = "",
        content_type: str = "",
        accept: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Forget the last request and what was set for it, and tell of another."""
        told = Headers({"body": {"content-type": content_type}, **(headers or {})})
        if content_type:
            told.setdefault("content-type", content_type)
        if accept:
            told.setdefault("accept", accept)
        self.headers, self.request_id = dict(headers or {}), request_id
        self.request_ids = {0: request_id}
        self.request_processor = [RequestProcessor(told)]
        self.metrics = MetricsStore(self.request_ids, self.model_name)


def _manifest(directory: Path) -> Any:
    try:
        return json.loads((directory / _MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ModelLoadError(f"{_MANIFEST} cannot be read: {error}") from error
