"""An archive's own code: importing it, calling its hooks, and saying where it failed."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

from mme_handler.errors import MmeError, ModelLoadError, OutOfMemoryError, as_text, is_out_of_memory
from mme_handler.models.archive import CODE_DIRECTORY

_MODULE: Final = "inference"

HOOKS: Final[dict[str, tuple[str, ...]]] = {
    "pre_model_fn": ("model_dir",),
    "model_fn": ("model_dir",),
    "model_warmup_fn": ("model_dir", "model"),
    "input_fn": ("body", "content_type"),
    "predict_fn": ("data", "model"),
    "output_fn": ("prediction", "accept"),
    "transform_fn": ("model", "body", "content_type", "accept"),
}
"""The functions that a script may define, and what each is called with besides the context."""

Hook = Callable[..., Any]

_LIBRARIES = "lib"


def import_script(script: Path) -> ModuleType:
    """Import an archive's script; its directory is already on ``sys.path``.

    Its module has the file's name, by which sagemaker-inference's Transformer looks for it; it is
    ``inference`` where that name belongs to another module.

    Raises:
        ModelLoadError: it cannot be imported; what it raised is the cause.
        OutOfMemoryError: it allocated too much.
    """
    name = _MODULE if script.stem in sys.modules else script.stem
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{script.name} cannot be imported: it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, MmeError) or not isinstance(error, Exception):
            raise
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"{script.name} of the model ran out of memory") from error
        reason = _import_failure(error, script)
        raise ModelLoadError(f"{script.name} cannot be imported: {reason}") from error
    return module


def find_hooks(module: ModuleType) -> dict[str, Hook]:
    """The hooks that a script defines, each to be called with its arguments and the context.

    Raises:
        ModelLoadError: a hook is no function, or does not take its arguments.
    """
    found = {name: getattr(module, name, None) for name in HOOKS}
    return {name: bind_hook(name, own) for name, own in found.items() if own is not None}


def bind_hook(name: str, function: Any) -> Hook:
    """`function` as one that always takes the context last, and gets it only if it wants it.

    Raises:
        ModelLoadError: it cannot be called with the arguments of the hook `name`.
    """
    arguments = HOOKS[name]
    if not callable(function):
        raise ModelLoadError(f"{name} of the model must be a function")
    place = _context_place(function, len(arguments))
    _check_arguments(name, function, place)
    if place == "last":
        return lambda *given: function(*given)
    if place == "by name":
        return lambda *given: function(*given[:-1], context=given[-1])
    return lambda *given: function(*given[:-1])


def takes_context(function: Hook, count: int) -> bool:
    """Whether a hook takes a context besides its `count` arguments.

    One positional parameter more than usual is the context, as in sagemaker-inference; so is
    ``*args`` behind the usual ones, or ``*, context``. Not so a parameter with a default other
    than None, which means something else, and not ``(*args, **kwargs)``, which is mostly what a
    decorator without ``functools.wraps`` leaves of a hook that takes none.
    """
    return _context_place(function, count) is not None


def _context_place(function: Hook, count: int) -> Literal["last", "by name"] | None:
    parameters = _parameters(function)
    if parameters is None:
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.KEYWORD_ONLY and p.name == "context" for p in parameters):
        return "by name"
    if len(positional) > count:
        extra = positional[count]
        wanted = extra.name == "context" or extra.default in (extra.empty, None)
        return "last" if wanted else None
    kinds = {p.kind for p in parameters}
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return None
    catches_all = not positional and inspect.Parameter.VAR_KEYWORD in kinds
    return None if catches_all else "last"


def _parameters(function: Hook) -> list[inspect.Parameter] | None:
    """The parameters of a function; None for some of those written in C, which do not tell."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def _check_arguments(name: str, function: Hook, place: str | None) -> None:
    if _parameters(function) is None:
        return
    arguments = HOOKS[name]
    positional = arguments + (("context",) if place == "last" else ())
    named = {"context": None} if place == "by name" else {}
    signature = inspect.signature(function)
    try:
        signature.bind(*positional, **named)
    except TypeError:
        raise ModelLoadError(
            f"{name} of the model is defined with {_names(signature)}, but is called with "
            f"({', '.join(arguments)}) or ({', '.join(arguments)}, context)"
        ) from None


def _names(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"


def describe(error: BaseException) -> str:
    """An exception's type and text, for people."""
    kind, text = as_text(type(error).__name__), as_text(error)
    return f"{kind}: {text}" if text else kind


def where(error: BaseException, directory: Path) -> str | None:
    """The innermost place in the model's own code that `error` came from, for the log.

    Such as ``inference.py, line 12, in input_fn``. Packages below ``code/lib`` count only when
    nothing else does.
    """
    root = os.path.realpath(directory)
    for each in _chain(error):
        if places := list(_places(each, root)):
            own = [place for place in places if not place.startswith(_LIBRARIES + os.sep)]
            return (own or places)[-1]
    return None


def _import_failure(error: Exception, script: Path) -> str:
    directory = script.parent.parent if script.parent.name == CODE_DIRECTORY else script.parent
    if isinstance(error, SyntaxError) and (
        place := _syntax_place(error, os.path.realpath(directory))
    ):
        return f"{type(error).__name__}: {error.msg} ({place})"
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{describe(error)}: put it into {CODE_DIRECTORY}/{_LIBRARIES}/, "
            f"or list it in {CODE_DIRECTORY}/requirements.txt"
        )
    return describe(error)


def _syntax_place(error: SyntaxError, directory: str) -> str | None:
    name = _name_within(error.filename or "", directory)
    return f"{name}, line {error.lineno}" if name else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then what led to it: one that was raised as another happened where it did."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        yield current
        seen.add(id(current))
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)


def _places(error: BaseException, directory: str) -> Iterator[str]:
    for frame, line in traceback.walk_tb(error.__traceback__):
        if name := _name_within(frame.f_code.co_filename, directory):
            yield f"{name}, line {line}, in {frame.f_code.co_name}"
    if isinstance(error, SyntaxError) and (place := _syntax_place(error, directory)):
        yield place


def _name_within(file: str, directory: str) -> str | None:
    """A file's path within the model's directory, or None for a file elsewhere."""
    path = os.path.realpath(file)
    if not path.startswith(directory + os.sep):
        return None
    return os.path.relpath(path, directory).removeprefix(CODE_DIRECTORY + os.sep)
