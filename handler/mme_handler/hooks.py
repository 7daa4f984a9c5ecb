"""A loaded model and the functions that answer for it: the defaults, and the model's own.

The names and meanings are sagemaker-inference's: ``model_fn(model_dir)``,
``input_fn(body, content_type)``, ``predict_fn(data, model)``, ``output_fn(prediction, accept)``,
``transform_fn(model, body, content_type, accept)`` in place of the last three,
``pre_model_fn(model_dir)`` and ``model_warmup_fn(model_dir, model)``; each may take a trailing
``context``. An archive's ``inference.py`` defines those that it wants its own way.

(https://github.com/aws/sagemaker-inference-toolkit, "Implement the handler functions")
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from sagemaker_inference.content_types import UTF8_TYPES
from sagemaker_inference.errors import BaseInferenceToolkitError, UnsupportedFormatError

from mme_handler import answers, codecs, defaults
from mme_handler.answers import Answer
from mme_handler.codecs import Encoded, Output, Schema, aws_shapes
from mme_handler.errors import (
    BadRequestError,
    ModelError,
    ModelLoadError,
    NotAcceptableError,
    OutOfMemoryError,
    UnsupportedContentTypeError,
    is_out_of_memory,
)
from mme_handler.mms_context import Context
from mme_handler.mms_service import Service, find_service
from mme_handler.models import device, outputs
from mme_handler.models import settings as model_settings
from mme_handler.models.archive import Archive
from mme_handler.models.booster import LoadedBooster, ModelInfo, adopt, load_booster
from mme_handler.models.ensemble import Ensemble
from mme_handler.models.predictor import Predictor
from mme_handler.options import Options
from mme_handler.requirements import satisfy
from mme_handler.user_code import Hook, describe, find_hooks, import_script

_PARTS = frozenset({"input_fn", "predict_fn", "output_fn"})
"""What transform_fn does in one."""


class Handler:
    """Loads one model and answers its requests.

    Args:
        name: the model's id.
        archive: its unpacked archive; `archive.script`, if any, is imported.
        options: the container's settings; the archive's own go before them.

    Raises:
        MmeError: the model cannot be loaded.
    """

    def __init__(self, name: str, archive: Archive, options: Options) -> None:
        self._archive = archive
        self._options = options
        self.settings = model_settings.read(archive.directory)
        self._default_accept = self.settings.default_accept or options.default_accept
        self._encoders = (
            aws_shapes.encoders(options.batch) if options.response_shape == "aws" else None
        )
        output = self.settings.output or options.output
        self._keys = outputs.parse(output) if output else outputs.DEFAULT
        self._name = name
        self._context: Any = None  # for hooks of the model's own
        self._predictor: Predictor | Ensemble | None = None
        self._schema: Schema | None = None
        self.loaded: list[LoadedBooster] = []
        self._own: dict[str, Hook] = {}
        self._service: Service | None = None
        self.model: Any = None
        self._check_settings()
        if archive.script:
            self._import(archive.script)
        if self._service:
            self._service.load(name, archive.directory, options.gpu)
            return
        directory = str(archive.directory)
        self._call("pre_model_fn", None, directory)
        self.model = self._call("model_fn", self.default_model_fn, directory)
        self._prepare()
        self._check_default_accept()
        self._call("model_warmup_fn", None, directory, self.model)

    @property
    def directory(self) -> Path:
        """Where the archive is unpacked."""
        return self._archive.directory

    def summary(self) -> dict[str, str | int]:
        """What the model's file says about itself; empty if the model is not a booster."""
        if not self.loaded:
            return {}
        more = {"members": len(self.loaded)} if len(self.loaded) > 1 else {}
        return {**self.loaded[0].info.summary(), **more}

    def _check_settings(self) -> None:
        most = self._options.model_timeout
        if self.settings.timeout and self.settings.timeout > most:
            raise ModelLoadError(
                f"the model's settings ask for a timeout of {self.settings.timeout:g} s, and the "
                f"container allows {most:g} s: set MME_MODEL_TIMEOUT"
            )

    def _check_default_accept(self) -> None:
        if self._own.keys() & {"output_fn", "transform_fn"}:
            return  # it may be a type of the model's own
        try:
            codecs.choose_accept(None, self._default_accept)
        except NotAcceptableError as error:
            raise ModelLoadError(f"the default content type of answers: {error}") from None

    def _import(self, script: Path) -> None:
        """Import the model's own code and find in it the hooks, or a service as MMS knows it."""
        directory = self._archive.directory
        packages = Path(self._options.packages, sha256(self._name.encode()).hexdigest())
        satisfy(
            directory, self._options.install_requirements, packages, self._options.model_timeout
        )
        defaults.use(self)
        module = import_script(script)
        self._service = find_service(module)
        if not self._service:
            self._own = find_hooks(module)
        if self._own:
            self._context = Context(self._name, directory, self._options.gpu)
            self._context.begin()
        if "transform_fn" in self._own and self._own.keys() & _PARTS:
            raise ModelLoadError(
                "inference.py defines transform_fn, which does the work of input_fn, predict_fn "
                "and output_fn, together with one of these: keep one or the other"
            )

    def _prepare(self) -> None:
        """Make ready what predicts, if the model is one booster or several."""
        models = self.model if isinstance(self.model, list | tuple) else [self.model]
        if not models or not all(isinstance(model, xgb.Booster) for model in models):
            self.loaded = []
            return
        if [loaded.booster for loaded in self.loaded] != models:  # from the model's own model_fn
            self.loaded = [adopt(model) for model in models]
        members = [self._member(loaded) for loaded in self.loaded]
        self._predictor = members[0] if len(members) == 1 else Ensemble(members)
        self._predictor.warm()
        self._schema = self._make_schema(self.loaded[0].info)

    def _member(self, loaded: LoadedBooster) -> Predictor:
        settings, place = self.settings, self._device()
        if settings.threads > 1 or place == "cuda":
            threads = min(settings.threads, os.cpu_count() or 1)
            loaded.booster.set_param({"nthread": threads, "device": place})
        rounds = 0
        if settings.trees == "best_iteration":
            if loaded.info.best_iteration is None:
                raise ModelLoadError(
                    "the model's settings ask for its best_iteration, and its file has none: "
                    "it was trained without early stopping"
                )
            rounds = loaded.info.best_iteration + 1
        return Predictor(loaded, rounds, settings.batch_size, place)

    def _device(self) -> Literal["cpu", "cuda"]:
        return device.choose(self.settings.device, self._options.device)

    def _make_schema(self, info: ModelInfo) -> Schema:
        base = self.settings.libsvm_index_base
        return Schema(
            info.features,
            info.feature_names,
            info.categories or {},
            self.settings.missing,
            self._options.libsvm_index_base if base is None else base,
        )

    def answer(
        self,
        body: bytes,
        content_type: str,
        accept: str | None,
        headers: dict[str, str],
        request_id: str = "",
    ) -> Encoded | Answer:
        """Answer one request.

        Raises:
            BaseInferenceToolkitError: the request or the model is at fault; `status_code` says.
        """
        if not self._own and self._schema and self._predictor:
            features = codecs.decode(body, content_type, self._schema)
            answer = self._compute(self._predictor, features, headers)
            return codecs.encode(answer, accept, self._default_accept, self._encoders)
        if self._service:
            return self._service.answer(request_id, body, content_type, accept or "", headers)
        self._context.begin(request_id, content_type, accept, headers)
        received = _as_text(body, content_type)
        accept = accept if accept and accept != "*/*" else self._default_accept
        hook = "output_fn"
        if "transform_fn" in self._own:
            hook = "transform_fn"
            result = self._call(hook, None, self.model, received, content_type, accept)
        else:
            data = self._call("input_fn", self.default_input_fn, received, content_type)
            prediction = self._call("predict_fn", self.default_predict_fn, data, self.model)
            result = self._call(hook, self.default_output_fn, prediction, accept)
        return _as_answer(hook, result, accept, self._context)

    def is_quick(self, content_type: str, headers: dict[str, str]) -> bool:
        """Whether a small request of this kind is little work, as far as can be told before."""
        if self._keys != outputs.DEFAULT or codecs.expands(content_type):
            return False
        return "output" not in headers.get(outputs.ATTRIBUTES_HEADER, "").lower()

    def _compute(
        self,
        predictor: Predictor | Ensemble,
        features: NDArray[np.float32],
        headers: dict[str, str],
    ) -> NDArray[np.float32] | list[Output]:
        keys = self._keys
        if attributes := headers.get(outputs.ATTRIBUTES_HEADER):
            keys = outputs.requested(attributes) or keys
        if len(features) > 1 or keys != outputs.DEFAULT:
            outputs.check_size(predictor, len(features), keys, self._options.max_payload)
        if keys == outputs.DEFAULT:
            return predictor.predict(features)
        return outputs.compute(predictor, features, keys)

    def _call(self, hook: str, default: Callable[..., Any] | None, *arguments: Any) -> Any:
        """Call the model's own hook, or the default; what the own one raises names it."""
        own = self._own.get(hook)
        if own is None:
            return default(*arguments) if default else None
        try:
            return own(*arguments, self._context)
        except BaseInferenceToolkitError:
            raise
        except UnsupportedFormatError as error:
            raise UnsupportedContentTypeError(str(error)) from error
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(f"{hook} of the model ran out of memory") from error
            loading = hook in ("pre_model_fn", "model_fn", "model_warmup_fn")
            kind = ModelLoadError if loading else ModelError
            raise kind(f"{hook} of the model failed: {describe(error)}") from error

    def default_model_fn(self, _: str) -> Any:
        """Load the archive's booster, or all boosters of its ensemble as a list."""
        files = self._archive.ensemble_files()
        if not self._options.ensemble:
            files = files[:1]
        self.loaded = [load_booster(file, self._archive.pickled) for file in files]
        boosters = [loaded.booster for loaded in self.loaded]
        return boosters[0] if len(boosters) == 1 else boosters

    def default_input_fn(self, body: bytes | str, content_type: str) -> NDArray[np.float32]:
        """Read a body of any supported content type; float32 (rows, features)."""
        if isinstance(body, str):
            body = body.encode()
        schema = self._schema or Schema(getattr(self.model, "n_features_in_", 0))
        if not schema.features:
            raise ModelError(
                "how many features the model takes is not known: define input_fn in inference.py"
            )
        return codecs.decode(body, content_type, schema)

    def default_predict_fn(self, data: Any, model: Any) -> Any:
        """Predict: float32 (rows,) or (rows, outputs); a list of `Output` where others are asked.

        Which outputs, the settings and the request's custom attributes say, unless the model has
        its own `output_fn`, which gets the plain prediction.
        """
        if not self._predictor or not isinstance(data, np.ndarray):
            return model.predict(data)
        features = np.ascontiguousarray(data, dtype=np.float32)
        if "output_fn" in self._own:
            return self._predictor.predict(features)
        return self._compute(self._predictor, features, self._context.headers)

    def default_output_fn(self, prediction: Any, accept: str | None) -> Encoded:
        """Write a prediction, an array or a list of `Output`, in an accepted content type."""
        if not _is_outputs(prediction):
            prediction = np.asarray(prediction, dtype=np.float32)
        return codecs.encode(prediction, accept, self._default_accept, self._encoders)


def _as_text(body: bytes, content_type: str) -> bytes | str:
    """The body as sagemaker-inference hands it to a hook: CSV and JSON as text."""
    if content_type.partition(";")[0].strip().lower() not in UTF8_TYPES:
        return body
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadRequestError("the body is not valid UTF-8") from None


def _is_outputs(prediction: Any) -> bool:
    return (
        isinstance(prediction, list | tuple)
        and bool(prediction)
        and all(isinstance(output, Output) for output in prediction)
    )


def _as_answer(hook: str, result: Any, accept: str, context: Any) -> Answer:
    """What an output hook may return: a body, or a body with its content type."""
    said, default = None, accept
    if isinstance(result, Encoded):
        result, default = result
    elif isinstance(result, tuple):
        if len(result) != 2:
            raise ModelError(
                f"{hook} of the model returned a tuple of {len(result)}: "
                "return a body, or a body and its content type"
            )
        result, said = result
        if not isinstance(said, str):
            raise ModelError(
                f"{hook} of the model returned {answers.kind(said)} as the content type: "
                "it must be text"
            )
    if result is None:
        raise ModelError(f"{hook} of the model returned None: return bytes, text, a dict or a list")
    if not isinstance(result, bytes | bytearray | memoryview | str | dict | list):
        raise ModelError(
            f"the model's output must be bytes or text, not {type(result).__name__}: "
            f"encode it in {hook}"
        )
    body, json_type = answers.encode(result, f"{hook} of the model returned")
    return answers.make("the code", context, body, said, json_type or default)
