"""The user's own code in a training job: where it is, and whether it is a script or has hooks."""

from __future__ import annotations

import ast
import logging
import os
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mme_training import pip
from mme_training.archives.pack import ArchiveError, unpack
from mme_training.container.config import CODE, Config
from mme_training.container.environment import own_hyperparameter
from mme_training.container.layout import Layout
from mme_training.errors import UserError

HOOKS: Final = ("read_fn", "objective_fn", "metric_fn", "save_fn")
DEFAULT_PROGRAM: Final = "train.py"
SOURCE: Final = "sourcedir.tar.gz"
"""Archive that the SageMaker SDK packs a script and what lies beside it into."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UserCode:
    """A directory of code, and the program in it, if one is to run in training."""

    directory: Path
    program: Path | None

    @property
    def has_hooks(self) -> bool:
        """Whether the program defines hooks; if not, it is a script.

        Raises:
            UserError: the program is no Python.
        """
        return bool(self.program and _functions(self.program).intersection(HOOKS))


def find(config: Config, layout: Layout) -> UserCode | None:
    """The user's code, by ``sagemaker_submit_directory`` or the channel ``code``; None without any.

    The program is ``sagemaker_program``, or else ``train.py`` if there is one.

    Raises:
        UserError: the code cannot be fetched or unpacked, or the program is not in it.
    """
    given = own_hyperparameter(config, "sagemaker_submit_directory")
    name = own_hyperparameter(config, "sagemaker_program") or os.environ.get("SAGEMAKER_PROGRAM")
    if given:
        directory = _fetch(given, layout)
    elif CODE in config.channels:
        directory = _from_channel(layout)
    elif name:
        directory = layout.code
    else:
        return None
    program = directory / (name or DEFAULT_PROGRAM)
    if not program.resolve().is_relative_to(directory.resolve()):
        raise UserError(f"sagemaker_program is {name}, which leads out of the code's directory")
    if not program.is_file():
        if name:
            raise UserError(f"sagemaker_program is {name}, and there is no such file in the code")
        return UserCode(directory, None)
    return UserCode(directory, program)


def install_requirements(code: UserCode) -> None:
    """Install what ``requirements.txt`` lists, if there is one.

    Raises:
        UserError: pip fails; the message has its reason.
    """
    requirements = code.directory / "requirements.txt"
    if not requirements.is_file():
        return
    _log.info("Installing %s", requirements.name)
    try:
        pip.run([sys.executable, *pip.INSTALL, "-r", str(requirements)])
    except pip.PipError as error:
        raise UserError(f"{requirements.name} cannot be installed: {error}") from error


def _functions(program: Path) -> set[str]:
    if program.suffix != ".py":
        return set()
    try:
        tree = ast.parse(program.read_bytes(), program.name)
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{program.name} is no Python: {error}") from error
    return {name for node in tree.body for name in _defined(node)}


def _defined(node: ast.stmt) -> list[str]:
    """What a statement defines: by `def`, by `=` or by `from .. import`."""
    match node:
        case ast.FunctionDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.ImportFrom(names=names):
            return [alias.asname or alias.name for alias in names]
    return []


def _from_channel(layout: Layout) -> Path:
    directory = layout.channel(CODE)
    archive = directory / SOURCE
    return _unpacked(archive, layout) if archive.is_file() else directory


def _fetch(given: str, layout: Layout) -> Path:
    if not given.startswith("s3://"):
        path = Path(given.removeprefix("file://"))
        if path.is_dir():
            return path
        if not path.is_file():
            raise UserError(f"sagemaker_submit_directory is {given}, which is not there")
        return _unpacked(path, layout)
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    url = urlsplit(given)
    archive = layout.root / "input" / SOURCE
    archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        boto3.client("s3").download_file(url.netloc, url.path.lstrip("/"), str(archive))
    except (BotoCoreError, ClientError) as error:
        raise UserError(
            f"{given} cannot be downloaded: {error}; the job's role must be allowed to read it, "
            "and with network isolation the code must come by the channel `code`"
        ) from error
    return _unpacked(archive, layout)


def _unpacked(archive: Path, layout: Layout) -> Path:
    shutil.rmtree(layout.code, ignore_errors=True)
    try:
        unpack(archive, layout.code)
    except (ArchiveError, tarfile.TarError, OSError) as error:
        raise UserError(f"the code in {archive.name} cannot be unpacked: {error}") from error
    return layout.code
