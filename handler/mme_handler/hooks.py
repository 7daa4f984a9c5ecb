"""A loaded model and the functions that answer for it: the defaults, and the model's own.

The names and meanings are sagemaker-inference's: ``model_fn(model_dir)``,
``input_fn(body, content_type)``, ``predict_fn(data, model)``, ``output_fn(prediction, accept)``,
``transform_fn(model, body, content_type, accept)`` in place of the last three,
``pre_model_fn(model_dir)`` and ``model_warmup_fn(model_dir, model)``; each may take a trailing
``context``. An archive's ``inference.py`` defines those that it wants its own way.

(https://github.com/aws/sagemaker-inference-toolkit, "Implement the handler functions")
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from sagemaker_inference.errors import BaseInferenceToolkitError, UnsupportedFormatError

from mme_handler import codecs
from mme_handler.codecs import Encoded, Schema
from mme_handler.errors import (
    MmeError,
    ModelError,
    ModelLoadError,
    OutOfMemoryError,
    UnsupportedContentTypeError,
    is_out_of_memory,
)
from mme_handler.models.archive import Archive
from mme_handler.models.booster import LoadedBooster, adopt, load_booster
from mme_handler.models.predictor import Predictor

_HOOKS = (
    "pre_model_fn",
    "model_fn",
    "model_warmup_fn",
    "input_fn",
    "predict_fn",
    "output_fn",
    "transform_fn",
)


@dataclass(slots=True)
class Context:
    """What a hook is told besides its arguments: the model, and the request's headers."""

    model_name: str
    model_dir: str
    headers: dict[str, str] = field(default_factory=dict)
    """Header names in lower case; empty while the model is loaded."""

    @property
    def system_properties(self) -> dict[str, Any]:
        """As MMS's own context has them."""
        return {"model_dir": self.model_dir, "gpu_id": None, "batch_size": 1}


class Handler:
    """Loads one model and answers its requests.

    Args:
        name: the model's id.
        archive: its unpacked archive; `archive.script`, if any, is imported.
        default_accept: content type of an answer when the client leaves it open.

    Raises:
        MmeError: the model cannot be loaded.
    """

    def __init__(self, name: str, archive: Archive, default_accept: str) -> None:
        self._archive = archive
        self._default_accept = default_accept
        self._context = Context(name, str(archive.directory))
        self._predictor: Predictor | None = None
        self._schema: Schema | None = None
        self.booster: LoadedBooster | None = None
        own = _import_script(archive.script) if archive.script else None
        self._own = {hook: getattr(own, hook) for hook in _HOOKS if hasattr(own, hook)}
        if "transform_fn" in self._own and self._own.keys() & {
            "input_fn",
            "predict_fn",
            "output_fn",
        }:
            raise ModelLoadError(
                "inference.py defines transform_fn, which does the work of input_fn, predict_fn "
                "and output_fn, together with one of these: keep one or the other"
            )
        self._call("pre_model_fn", None, self._context.model_dir)
        self.model = self._call("model_fn", self._model_fn, self._context.model_dir)
        if isinstance(self.model, xgb.Booster):
            self.booster = self.booster or adopt(self.model)
            self._predictor = Predictor(self.booster)
            self._predictor.warm()
            self._schema = Schema(self._predictor.features, self.booster.info.feature_names)
        self._call("model_warmup_fn", None, self._context.model_dir, self.model)

    def answer(
        self, body: bytes, content_type: str, accept: str | None, headers: dict[str, str]
    ) -> Encoded:
        """Answer one request.

        Raises:
            BaseInferenceToolkitError: the request or the model is at fault; `status_code` says.
        """
        if not self._own and self._predictor and self._schema:
            features = codecs.decode(body, content_type, self._schema)
            return codecs.encode(self._predictor.predict(features), accept, self._default_accept)
        self._context.headers = headers
        accept = accept if accept and accept != "*/*" else self._default_accept
        if "transform_fn" in self._own:
            result = self._call("transform_fn", None, self.model, body, content_type, accept)
        else:
            data = self._call("input_fn", self._input_fn, body, content_type)
            prediction = self._call("predict_fn", self._predict_fn, data, self.model)
            result = self._call("output_fn", self._output_fn, prediction, accept)
        return _as_encoded(result, accept)

    def _call(self, hook: str, default: Callable[..., Any] | None, *arguments: Any) -> Any:
        """Call the model's own hook, or the default; what the own one raises names it."""
        own = self._own.get(hook)
        if own is None:
            return default(*arguments) if default else None
        try:
            if _takes(own, len(arguments) + 1):
                return own(*arguments, self._context)
            return own(*arguments)
        except BaseInferenceToolkitError:
            raise
        except UnsupportedFormatError as error:
            raise UnsupportedContentTypeError(str(error)) from error
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(f"{hook} of the model ran out of memory") from error
            loading = hook in ("pre_model_fn", "model_fn", "model_warmup_fn")
            kind = ModelLoadError if loading else ModelError
            raise kind(f"{hook} of the model failed: {_describe(error)}") from error

    def _model_fn(self, _: str) -> xgb.Booster:
        self.booster = load_booster(self._archive.only_model_file())
        return self.booster.booster

    def _input_fn(self, body: bytes, content_type: str) -> NDArray[np.float32]:
        if self._predictor:
            features = self._predictor.features
        else:
            features = getattr(self.model, "n_features_in_", 0)
        if not features:
            raise ModelError(
                "how many features the model takes is not known: define input_fn in inference.py"
            )
        return codecs.decode(body, content_type, self._schema or Schema(features))

    def _predict_fn(self, data: Any, model: Any) -> Any:
        if self._predictor and isinstance(data, np.ndarray):
            return self._predictor.predict(np.ascontiguousarray(data, dtype=np.float32))
        return model.predict(data)

    def _output_fn(self, prediction: Any, accept: str | None) -> Encoded:
        scores = np.asarray(prediction, dtype=np.float32)
        return codecs.encode(scores, accept, self._default_accept)


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a hook takes `count` arguments: one more than usual is the context."""
    return len(inspect.signature(function).parameters) == count


def _import_script(script: Path) -> ModuleType:
    """Import an archive's inference.py; its directory is already on ``sys.path``."""
    spec = importlib.util.spec_from_file_location("inference", script)
    if spec is None or spec.loader is None:  # pragma: no cover - only for unknown suffixes
        raise ModelLoadError(f"{script.name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["inference"] = module
    try:
        spec.loader.exec_module(module)
    except MmeError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError("inference.py of the model ran out of memory") from error
        raise ModelLoadError(f"inference.py cannot be imported: {_describe(error)}") from error
    return module


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _as_encoded(result: Any, accept: str) -> Encoded:
    """What an output hook may return: a body, or a body with its content type."""
    if isinstance(result, Encoded):
        return result
    body, content_type = result if isinstance(result, tuple) else (result, accept)
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes | bytearray | memoryview):
        raise ModelError(
            f"the model's output must be bytes or text, not {type(body).__name__}: "
            "encode it in output_fn"
        )
    return Encoded(bytes(body), content_type)
