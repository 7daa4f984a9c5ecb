"""What a model's own code defines, read and not run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mme_handler.user_code import HOOKS

_PARTS = frozenset({"input_fn", "predict_fn", "output_fn"})


@dataclass(frozen=True, slots=True)
class Script:
    """An ``inference.py``; `error` says why it is no Python, if it is none."""

    name: str
    """Its path within the archive."""
    hooks: tuple[str, ...] = ()
    service: str | None = None
    """``handle``, or the class, where it is a service as MMS knows it."""
    unknown: bool = False
    """Whether it may define more: it imports ``*`` from somewhere."""
    error: str | None = None

    @property
    def loads_itself(self) -> bool:
        """Whether it, and not the server, opens the model files, as far as can be told."""
        return "model_fn" in self.hooks or self.service is not None or self.unknown

    @property
    def problem(self) -> str | None:
        """Why the server refuses it, as far as can be told."""
        if self.error:
            return self.error
        if "transform_fn" in self.hooks and (both := sorted(_PARTS & set(self.hooks))):
            return (
                f"it defines transform_fn, which does the work of input_fn, predict_fn and "
                f"output_fn, together with {' and '.join(both)}"
            )
        return None


def read_script(path: Path, name: str) -> Script:
    """Read the script at `path`, which is called `name` in the archive.

    Raises:
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape that is none, for example
            tree = ast.parse(content, name)
            compile(tree, name, "exec")
    except SyntaxError as error:
        line = f" (line {error.lineno})" if error.lineno else ""
        return Script(name, error=f"{error.msg}{line}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Script(name, error=str(error) or type(error).__name__)
    names: set[str] = set()
    classes: list[ast.ClassDef] = []
    for statement in _top_level(tree.body):
        names.update(_bound(statement))
        if isinstance(statement, ast.ClassDef):
            classes.append(statement)
    hooks = tuple(hook for hook in HOOKS if hook in names)
    return Script(name, hooks, _service(names, classes, bool(hooks)), "*" in names)


def _service(names: set[str], classes: list[ast.ClassDef], hooks: bool) -> str | None:
    if "handle" in names and not hooks:
        return "handle"
    for each in classes:
        known = any(_last_name(base) == "DefaultHandlerService" for base in each.bases)
        own = any(isinstance(part, ast.FunctionDef) and part.name == "handle" for part in each.body)
        if known or (own and not hooks):
            return each.name
    return None


def _last_name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of the module itself, also those below ``if``, ``try`` and ``with``."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for field in ("body", "orelse", "finalbody"):
                yield from _top_level(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _top_level(handler.body)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement gives something."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            for alias in names:
                yield alias.asname or alias.name
        case ast.Assign(targets=targets):
            for node in (node for target in targets for node in ast.walk(target)):
                if isinstance(node, ast.Name):
                    yield node.id
        case ast.AnnAssign(target=ast.Name(id=name), value=value) if value:
            yield name
