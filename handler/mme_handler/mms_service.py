"""Services as MMS knows them: ``handle(data, context)``, as a function or in a class.

An archive that was written for MMS itself, or for a SageMaker container with a ``HandlerService``,
works unchanged: its service is given MMS's own context and requests as MMS builds them.

(https://github.com/awslabs/multi-model-server/blob/master/docs/custom_service.md)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sagemaker_inference.errors import BaseInferenceToolkitError

from mme_handler import answers
from mme_handler.answers import Answer
from mme_handler.errors import ModelError, ModelLoadError, OutOfMemoryError, is_out_of_memory
from mme_handler.mms_context import Context
from mme_handler.user_code import HOOKS, describe

_TRACEBACK: Final = "\nTraceback (most recent call last):\n"


class ServiceError(ModelError):
    """The model's own service answered with an error; the status is the service's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status


class _ReportedError(Exception):
    """A traceback that a service put into its answer: it belongs in the log."""


def find_service(module: ModuleType) -> Service | None:
    """The service that a script defines, or None: then its hooks, if any, are called.

    As in MMS, a function ``handle`` comes before a class. Beside hooks, only a
    ``DefaultHandlerService`` is one: it calls them itself.

    Raises:
        ModelLoadError: there are several services.
    """
    hooks = any(getattr(module, name, None) is not None for name in HOOKS)
    if not hooks and callable(getattr(module, "handle", None)):
        return Service(module, None)
    classes = [each for each in _service_classes(module) if not hooks or _calls_hooks(each)]
    if len(classes) > 1:
        names = " and ".join(each.__name__ for each in classes)
        script = Path(module.__file__ or module.__name__).name
        raise ModelLoadError(
            f"{script} defines several services, {names}: keep one, "
            "or define handle(data, context) in the module"
        )
    return Service(module, classes[0]) if classes else None


def _service_classes(module: ModuleType) -> list[type]:
    """The classes defined here, not imported, that can handle requests, without their bases."""
    classes = [
        each
        for each in vars(module).values()
        if inspect.isclass(each)
        and each.__module__ == module.__name__
        and callable(getattr(each, "handle", None))
        and not inspect.isabstract(each)
    ]
    unique = list(dict.fromkeys(classes))
    return [
        each
        for each in unique
        if not any(other is not each and issubclass(other, each) for other in unique)
    ]


def _calls_hooks(service: type) -> bool:
    return any(base.__module__.startswith("sagemaker_inference.") for base in service.__mro__)


class Service:
    """A model's own service; `find_service` makes it and `load` brings it to life."""

    def __init__(self, module: ModuleType, kind: type | None) -> None:
        self._module = module
        self._class = kind
        self._handle: Callable[[Any, Any], Any] = module.handle if kind is None else _unloaded
        self._context: Any = None

    def load(self, name: str, directory: Path, gpu: int | None = None) -> None:
        """Make the service ready: ``initialize(context)``, or ``handle(None, context)``.

        Raises:
            ModelLoadError: it failed; in MMS, a class whose `initialize` fails is loaded all the
                same, and fails with every request.
            OutOfMemoryError: it allocated too much.
        """
        self._context = Context(name, directory, gpu)
        try:
            if self._class is None:
                self._handle(None, self._context)
                return
            service = self._class()
            self._handle = service.handle
            if callable(initialize := getattr(service, "initialize", None)):
                initialize(self._context)
        except BaseInferenceToolkitError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(f"{self._name} of the model ran out of memory") from error
            reason = describe(error)
            raise ModelLoadError(f"{self._name} of the model failed to load: {reason}") from error

    def answer(
        self,
        request_id: str,
        body: bytes,
        content_type: str,
        accept: str | None,
        headers: Mapping[str, str],
    ) -> Answer:
        """Answer one request.

        Raises:
            BaseInferenceToolkitError: the service failed, or says that the request did.
        """
        self._context.begin(request_id, content_type, accept, headers)
        try:
            # MMS hands bodies over as bytearrays, and code that was written for it may ask.
            result = self._handle([{"body": bytearray(body)}], self._context)
        except BaseInferenceToolkitError:
            raise
        except Exception as error:
            raise self._known(error) from error
        if not isinstance(result, list) or len(result) != 1:
            found = f"{len(result)} elements" if isinstance(result, list) else answers.kind(result)
            raise ModelError(
                f"handle of the model must return a list with one element for the one request, "
                f"not {found}"
            )
        return self._as_answer(result[0])

    def _known(self, error: Exception) -> BaseInferenceToolkitError:
        from mms.service import PredictionException

        if is_out_of_memory(error):
            return OutOfMemoryError(f"{self._name} of the model ran out of memory")
        if isinstance(error, PredictionException):
            return ServiceError(answers.error_status(error.error_code), str(error.message))
        return ModelError(f"{self._name} of the model failed: {describe(error)}")

    def _as_answer(self, result: Any) -> Answer:
        body, content_type = answers.encode(
            result, f"{self._name} of the model returned a list with"
        )
        self._raise_reported(body)
        return answers.make(self._name, self._context, body, None, content_type)

    def _raise_reported(self, body: bytes) -> None:
        """Raise the error of an answer that is a message and a traceback.

        So answers sagemaker-inference's Transformer. The traceback is no business of the client,
        and the log would not have it.
        """
        status, phrase = self._context.get_response_status(0)
        # Whatever the status of an error was, its phrase is set, and that of a success is not.
        if phrase is None and answers.http_status(status, least=400) is None:
            return
        message, found, trace = body.decode("utf-8", "replace").partition(_TRACEBACK)
        if not found:
            return
        reported = _ReportedError(_TRACEBACK.lstrip() + trace)
        last = trace.rstrip().rpartition("\n")[2]
        if is_out_of_memory(_ReportedError(last)) or last.partition(":")[0].endswith("MemoryError"):
            raise OutOfMemoryError(f"{self._name} of the model ran out of memory") from reported
        raise ServiceError(answers.error_status(status), message) from reported

    @property
    def _name(self) -> str:
        return self._class.__name__ if self._class else "handle"


def _unloaded(data: Any, context: Any) -> Any:
    raise RuntimeError("the service has not been loaded")
