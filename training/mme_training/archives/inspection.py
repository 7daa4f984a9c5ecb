"""What a server will see in an archive: found out without running anything of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mme_handler import codecs, requirements
from mme_handler.errors import MmeError
from mme_handler.models import settings as model_settings
from mme_handler.models.archive import CODE_DIRECTORY, Archive
from mme_handler.models.archive import inspect as inspect_unpacked
from mme_handler.models.booster import LoadedBooster, load_booster
from mme_handler.models.formats import PICKLE_HEAD_BYTES, RE_SAVE, is_pickle
from mme_handler.models.memory import Budget, Home
from mme_handler.models.predictor import Predictor
from mme_handler.models.settings import ModelSettings
from mme_training.archives.check import read_rows
from mme_training.archives.loading import load
from mme_training.archives.pack import CHECK_NAME, LIMIT, is_junk, salvage
from mme_training.archives.source import Script, read_script
from mme_training.errors import UserError

_REPACK: Final = "pack it again with `mme pack`, which mends this"
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with an archive; `refused` if the server does not load it so."""

    text: str
    fix: str
    refused: bool

    def __str__(self) -> str:
        return f"{self.text}: {self.fix}" if self.fix else self.text


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model file, and what it says about itself; of one that cannot be read only `error`."""

    name: str
    bytes: int
    format: str | None = None
    xgboost: str | None = None
    """The version that wrote it, if the file says so."""
    booster: str | None = None
    objective: str | None = None
    features: int = 0
    feature_names: tuple[str, ...] | None = None
    feature_types: tuple[str, ...] | None = None
    categories: dict[str, list[str]] = field(default_factory=dict)
    """The categories that the model has stored, by feature."""
    classes: int = 0
    targets: int = 1
    rounds: int = 0
    trees: int = 0
    best_iteration: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """An archive as a server sees it; `loads` says whether it takes it."""

    source: str
    home: Home
    """``shared``: in a host with other models; ``isolated``: in a process of its own."""
    home_reason: str
    memory: int
    """Bytes that the server charges it with at first."""
    archive_bytes: int | None
    files: dict[str, int]
    """The size of each file, by its name in the archive."""
    models: tuple[ModelFile, ...]
    outputs: int | None
    """Values that a prediction of one row has; None where code of its own makes it."""
    settings: dict[str, Any]
    """What its ``mme.toml`` says."""
    script: Script | None
    requirements: tuple[str, ...]
    check_rows: int
    problems: tuple[Problem, ...]

    @property
    def loads(self) -> bool:
        """Whether nothing was found for which a server would refuse it."""
        return not any(problem.refused for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**asdict(self), "loads": self.loads}


def inspect_archive(path: Path, source: str | None = None, limit: int = LIMIT) -> Inspection:
    """Inspect the archive `path`, which the report calls `source`.

    Raises:
        ArchiveError: it is not a whole gzipped tar, or unpacks to more than `limit` bytes.
        OSError: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="mme-inspect-") as scratch:
        faults = salvage(path, Path(scratch, "model"), limit)
        problems = [
            Problem(str(fault), "pack the files themselves, with `mme pack`", True)
            for fault in faults
        ]
        size = path.stat().st_size
        return inspect_directory(
            Path(scratch, "model"), source or str(path), archive_bytes=size, problems=problems
        )


def inspect_directory(
    directory: Path,
    source: str | None = None,
    *,
    archive_bytes: int | None = None,
    problems: list[Problem] | None = None,
) -> Inspection:
    """Inspect an unpacked archive; `problems` are those found before.

    Raises:
        UserError: `directory` cannot be read.
    """
    return _Inspector(directory, problems or []).run(source or str(directory), archive_bytes)


class _Inspector:
    """Collects the problems while it looks at one part after the other."""

    def __init__(self, directory: Path, problems: list[Problem]) -> None:
        self._directory = directory
        self._problems = problems
        try:
            self._archive = inspect_unpacked(directory)
            paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
            self._files = {
                path.relative_to(directory).as_posix(): path.stat().st_size for path in paths
            }
        except (MmeError, OSError) as error:
            raise UserError(f"{directory} cannot be read: {error}") from None

    def run(self, source: str, archive_bytes: int | None) -> Inspection:
        script = self._script()
        settings = self._settings(script)
        models = tuple(self._model(path) for path in self._archive.model_files)
        outputs = self._load(script, models)
        self._look_at_the_files()
        home: Home = "isolated" if script else "shared"
        return Inspection(
            source=source,
            home=home,
            home_reason=_home_reason(script),
            memory=_memory(home, self._archive, settings),
            archive_bytes=archive_bytes,
            files=self._files,
            models=models,
            outputs=outputs,
            settings=settings.model_dump(exclude_unset=True) if settings else {},
            script=script,
            requirements=self._requirements() if script else (),
            check_rows=self._check_rows(models),
            problems=tuple(dict.fromkeys(self._problems)),
        )

    def _refuse(self, text: object, fix: str = "") -> None:
        self._problems.append(Problem(str(text), fix, True))

    def _warn(self, text: str, fix: str = "") -> None:
        self._problems.append(Problem(text, fix, False))

    def _try(self, action: Callable[[], Any]) -> Any:
        """What `action` returns; None, and a problem, if the server would refuse."""
        try:
            return action()
        except MmeError as error:
            self._refuse(error)
        return None

    def _script(self) -> Script | None:
        path = self._archive.script
        if path is None:
            return None
        script = read_script(path, path.relative_to(self._directory).as_posix())
        if script.problem:
            self._refuse(f"{script.name} is refused: {script.problem}", "mend it")
        elif not (script.hooks or script.service or script.unknown):
            self._warn(
                f"{script.name} defines none of the functions that a server calls",
                "define one, or leave it out: it costs the model a process of its own",
            )
        return script

    def _settings(self, script: Script | None) -> ModelSettings | None:
        settings: ModelSettings | None = self._try(lambda: model_settings.read(self._directory))
        if settings is None:
            return None
        if settings.default_accept and not (
            script and {"output_fn", "transform_fn"} & set(script.hooks)
        ):
            self._try(lambda: codecs.choose_accept(None, settings.default_accept or ""))
        if settings.device == "cuda":
            self._warn("the settings ask for a GPU", "a server without one refuses the model")
        return settings

    def _model(self, path: Path) -> ModelFile:
        size = path.stat().st_size
        try:
            return _describe(path, size, load_booster(path))
        except MmeError as error:
            with path.open("rb") as file:
                pickled = is_pickle(file.read(PICKLE_HEAD_BYTES))
            return ModelFile(path.name, size, "pickle" if pickled else None, error=str(error))

    def _load(self, script: Script | None, models: tuple[ModelFile, ...]) -> int | None:
        """Load as the server does; how many values a prediction has."""
        if script and script.loads_itself:
            for model in models:
                if model.format == "pickle":
                    self._warn(
                        f"{model.name} is a pickle, which its code may open with the versions of "
                        "Python and of the libraries that made it, and with no others",
                        RE_SAVE,
                    )
            return None
        if inner := [name for name in self._files if _is_archive(name) and "/" not in name]:
            self._refuse(f"holds an archive, {_some(inner)}", "unpack it, and pack what is in it")
            return None
        if not models and (nested := self._nested()):
            self._refuse(
                f"there is no model file at the root: everything is in {nested}/, where no "
                "server looks",
                f"give `mme pack` the archive, or the directory {nested} itself",
            )
            return None
        loaded = self._try(lambda: load(self._archive))
        if loaded is None or (script and (script.hooks or script.service)):
            return None
        return int(loaded.predictor.groups)

    def _nested(self) -> str | None:
        """The one directory at the root, if a model file is in it."""
        entries = [path for path in self._directory.iterdir() if not is_junk(path.name)]
        if len(entries) != 1 or not entries[0].is_dir():
            return None
        return entries[0].name if inspect_unpacked(entries[0]).model_files else None

    def _look_at_the_files(self) -> None:
        junk = [name for name in self._files if is_junk(name)]
        if junk:
            self._warn(f"holds files of tools: {_some(junk)}", _REPACK + ", leaving them out")

    def _requirements(self) -> tuple[str, ...]:
        file = self._directory / CODE_DIRECTORY / requirements.REQUIREMENTS
        if not file.is_file():
            return ()
        unmet = self._try(lambda: requirements.check(file, [file.parent / "lib"]))
        if unmet:
            self._warn(
                f"requirements.txt asks for what is not installed here: {_some(unmet)}",
                "a server without it refuses the model, unless MME_INSTALL_REQUIREMENTS=true",
            )
        lines = (line.strip() for line in file.read_text("utf-8-sig", "replace").splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))

    def _check_rows(self, models: tuple[ModelFile, ...]) -> int:
        file = self._directory / CHECK_NAME
        if not file.is_file():
            return 0
        known = models[0] if models and not models[0].error else None
        try:
            rows = (
                read_rows(file, known.features, known.feature_names) if known else read_rows(file)
            )
        except (UserError, OSError) as error:
            self._warn(str(error), f"leave {CHECK_NAME} out, or write it with the model")
            return 0
        return len(rows.cells)


def _describe(path: Path, size: int, loaded: LoadedBooster) -> ModelFile:
    info = loaded.info
    names = info.feature_names or tuple(f"f{number}" for number in range(info.features))
    return ModelFile(
        path.name,
        size,
        format=info.format,
        xgboost=".".join(map(str, info.version)) if info.version else None,
        booster=info.booster,
        objective=info.objective,
        features=info.features,
        feature_names=info.feature_names,
        feature_types=info.feature_types,
        categories={names[at]: list(codes) for at, codes in (info.categories or {}).items()},
        classes=info.classes,
        targets=info.targets,
        rounds=info.rounds,
        trees=0 if info.booster == "gblinear" else Predictor(loaded).trees,
        best_iteration=info.best_iteration,
    )


def _home_reason(script: Script | None) -> str:
    if script:
        return f"it brings code of its own, {script.name}"
    return "it brings no code of its own"


def _memory(home: Home, archive: Archive, settings: ModelSettings | None) -> int:
    if settings and settings.memory:
        return settings.memory
    return Budget(0, 0, lambda: 0).estimate(home, archive.format, archive.size)


def _is_archive(name: str) -> bool:
    return name.endswith((".tar.gz", ".tgz", ".tar"))


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
