"""Whether archives answer on a real server what their trainer predicted, to the last bit."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from mme_handler.errors import MmeError
from mme_handler.models.archive import inspect as inspect_unpacked
from mme_training.archives.check import Rows, read_rows
from mme_training.archives.loading import Models, load
from mme_training.archives.pack import CHECK_NAME, ArchiveError, unpack
from mme_training.errors import UserError
from mme_training.server import Server, ServerError, identify

Status = Literal["ok", "differs", "failed"]
Floats = NDArray[np.float32]

TRAINER: Final = "the trainer's predictions"
HERE: Final = "Booster.predict here"

_SHOWN: Final = 300  # characters of an answer


@dataclass(frozen=True, slots=True)
class Difference:
    """The first row, from 1, whose answer is another than what was expected by `against`."""

    against: str
    row: int
    expected: list[float]
    answered: list[float]
    rows: int
    """How many rows differ."""

    def __str__(self) -> str:
        return (
            f"row {self.row}: the server answers {_show(self.answered)}, {self.against} "
            f"{_show(self.expected)} ({self.rows} rows differ)"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one archive."""

    archive: Path
    status: Status
    rows: int = 0
    compared: tuple[str, ...] = ()
    """What the answers were compared with; all but the last of them are equal if it differs."""
    difference: Difference | None = None
    reason: str | None = None
    """Why it failed, or why nothing was compared."""
    answers: str | None = None
    """The beginning of what a model with code of its own answers."""


def verify(
    archives: Sequence[Path],
    data: Path | None = None,
    port: int | None = None,
    on_done: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Load each archive into one real server, send it rows, and compare; then unload it.

    The rows are those of `data`, else the archive's own check rows, else one of missing values
    alone. Answers are compared as float32, bit for bit: with the trainer's predictions that stand
    beside the rows, and with what XGBoost predicts in this process. A model with code of its own
    may answer anything: only with the trainer's predictions, and only where there are as many
    numbers in the answer. That code is run, in a process of the server.

    Args:
        archives: the files.
        data: CSV file of rows, with a header or without.
        port: to serve on; by default a free one.
        on_done: called with each verdict as it comes.

    Raises:
        ServerError: there is no server to verify with.
        OSError: `data` cannot be read.
    """
    if data:
        read_rows(data)  # a mistake in it is told before a server is started
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="mme-verify-") as scratch:
        models = Path(scratch).resolve() / "opt" / "ml" / "models"
        models.mkdir(parents=True)
        with Server(models, Path(scratch, "log"), port) as server:
            for archive in archives:
                verdict = _verify_one(server, archive, models, data)
                verdicts.append(verdict)
                on_done(verdict)
    return verdicts


@dataclass(slots=True)
class _Answers:
    """The answers to some rows: as numbers where they are, and as they came."""

    values: list[Floats] = field(default_factory=list)
    text: str = ""


def _verify_one(server: Server, archive: Path, models: Path, data: Path | None) -> Verdict:
    model_id = identify(str(archive))
    directory = models / model_id / "model"
    try:
        unpack(archive, directory)
        server.load(model_id, directory)
        try:
            return _compare(server, model_id, archive, directory, data)
        finally:
            server.unload(model_id)
    except (ServerError, ArchiveError, UserError, MmeError) as error:
        return Verdict(archive, "failed", reason=str(error))
    except OSError as error:
        return Verdict(archive, "failed", reason=f"{archive} cannot be read: {error.strerror}")
    finally:
        shutil.rmtree(directory.parent, ignore_errors=True)


def _compare(
    server: Server, model_id: str, archive: Path, directory: Path, data: Path | None
) -> Verdict:
    found = inspect_unpacked(directory)
    models = None if found.script else load(found)
    rows = _rows(models, data or directory / CHECK_NAME)
    if rows is None:
        reason = f"loaded; there is nothing to send: it has no {CHECK_NAME}, give --data"
        return Verdict(archive, "ok", reason=reason)
    answers = _ask(server, model_id, rows, plain=models is not None)
    expected: dict[str, Floats] = {}
    if rows.predictions is not None:
        expected[TRAINER] = rows.predictions
    if models:
        features = np.concatenate([models.read(body) for body in rows.bodies()])
        expected[HERE] = models.predict(features)
    return _judge(archive, rows, answers, expected, strict=models is not None)


def _rows(models: Models | None, file: Path) -> Rows | None:
    if not file.is_file():
        if models is None:
            return None
        return Rows([[""] * models.schema.features])
    if models is None:
        return read_rows(file)
    return read_rows(file, models.schema.features, models.schema.names)


def _ask(server: Server, model_id: str, rows: Rows, plain: bool) -> _Answers:
    """Send the rows. What a plain model predicts is asked for as float32, whatever its settings."""
    answers = _Answers()
    options: dict[str, Any] = {}
    if plain:
        options = {
            "accept": "application/x-npy",
            "headers": {"X-Amzn-SageMaker-Custom-Attributes": "output=score"},
        }
    for body in rows.bodies():
        content = server.invoke(model_id, body, **options).content
        if plain:
            answers.values.append(np.load(io.BytesIO(content), allow_pickle=False))
            continue
        answers.text = answers.text or content.decode(errors="replace").strip()[:_SHOWN]
        values = _numbers(content)
        if values is not None:
            answers.values.append(values)
    return answers


def _judge(
    archive: Path, rows: Rows, answers: _Answers, expected: dict[str, Floats], strict: bool
) -> Verdict:
    count = len(rows.cells)
    text = None if strict else answers.text
    answered = _joined(answers.values)
    compared: list[str] = []
    for against, values in expected.items():
        if answered is None or answered.size != values.size:
            if strict:
                size = 0 if answered is None else answered.size
                reason = f"{against} are {values.size} numbers, and the server answers {size}"
                return Verdict(archive, "failed", count, reason=reason)
            continue
        compared.append(against)
        if difference := _difference(against, values, answered):
            return Verdict(archive, "differs", count, tuple(compared), difference, answers=text)
    none = None if compared else "nothing to compare with: the answers of its own code are shown"
    return Verdict(archive, "ok", count, tuple(compared), reason=none, answers=text)


def _joined(values: list[Floats]) -> Floats | None:
    if not values or len({part.shape[1:] for part in values}) > 1:
        return None
    return np.concatenate(values)


def _difference(against: str, expected: Floats, answered: Floats) -> Difference | None:
    ours = np.ascontiguousarray(expected, np.float32).reshape(len(expected), -1)
    theirs = np.ascontiguousarray(answered, np.float32).reshape(ours.shape)
    same = (ours.view(np.uint32) == theirs.view(np.uint32)) | (np.isnan(ours) & np.isnan(theirs))
    rows = np.flatnonzero(~same.all(axis=1))
    if not len(rows):
        return None
    first = int(rows[0])
    return Difference(against, first + 1, ours[first].tolist(), theirs[first].tolist(), len(rows))


def _numbers(content: bytes) -> Floats | None:
    """The numbers of an answer in JSON or CSV, a row for each; None if they are not told."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            value = [[float(cell) for cell in line.split(b",")] for line in content.splitlines()]
        except ValueError:
            return None
    if isinstance(value, dict):
        value = value.get("predictions", next(iter(value.values())) if len(value) == 1 else None)
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        if any(len(row) != 1 for row in value):
            return None
        value = [next(iter(row.values())) for row in value]
    try:
        array = np.array(value, np.float32)
    except (TypeError, ValueError):
        return None
    return array if array.ndim else None


def _show(values: list[float]) -> str:
    """Values as the server writes them in JSON: with the digits that tell float32 apart."""
    option = orjson.OPT_SERIALIZE_NUMPY
    texts = [orjson.dumps(np.float32(value), option=option).decode() for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
