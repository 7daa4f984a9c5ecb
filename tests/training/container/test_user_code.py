from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from mme_training.container.config import read_config
from mme_training.container.hooks import load_hooks
from mme_training.container.layout import Layout
from mme_training.container.user_code import UserCode, find
from mme_training.errors import UserError
from support.training_job import TrainingJob

SCRIPT = "print('hello')\n"
HOOKS = "def metric_fn(predictions, dtrain):\n    return 'own', 1.0\n"


def _find(job: TrainingJob) -> UserCode | None:
    layout = Layout(job.root)
    return find(read_config(layout), layout)


def _job(root: Path, files: dict[str, str], program: str | None = None) -> TrainingJob:
    more = {"sagemaker_program": program} if program else {}
    job = TrainingJob(root, more, train="text/csv", code=None)
    for name, content in files.items():
        (job.channel("code") / name).write_text(content)
    return job


def test_a_job_without_code_has_none(tmp_path) -> None:
    assert _find(TrainingJob(tmp_path)) is None


def test_the_channel_code_holds_it(tmp_path) -> None:
    code = _find(_job(tmp_path, {"train.py": SCRIPT}))
    assert code == UserCode(tmp_path / "input/data/code", tmp_path / "input/data/code/train.py")
    assert not code.has_hooks


def test_code_for_serving_alone_is_no_program(tmp_path) -> None:
    code = _find(_job(tmp_path, {"inference.py": ""}))
    assert code is not None
    assert code.program is None
    assert load_hooks(code) == {}


def test_a_program_with_hooks_is_told_from_a_script(tmp_path) -> None:
    code = _find(_job(tmp_path, {"mine.py": HOOKS}, '"mine.py"'))
    assert code is not None
    assert code.has_hooks
    assert load_hooks(code)["metric_fn"](None, None) == ("own", 1.0)


@pytest.mark.parametrize("where", ["channel", "file", "directory"])
def test_the_archive_of_the_sdk_is_unpacked(tmp_path, where: str) -> None:
    job = _job(tmp_path, {}, "mine.py")
    source = tmp_path / "source"
    source.mkdir()
    (source / "mine.py").write_text(SCRIPT)
    archive = tmp_path / "sourcedir.tar.gz"
    if where == "channel":
        archive = job.channel("code") / "sourcedir.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source / "mine.py", "mine.py")
    if where != "channel":
        given = archive if where == "file" else source
        job = TrainingJob(
            tmp_path,
            {"sagemaker_program": "mine.py", "sagemaker_submit_directory": f'"{given}"'},
        )
    code = _find(job)
    assert code is not None
    assert code.program is not None
    assert code.program.read_text() == SCRIPT


def test_a_program_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"sagemaker_program is mine\.py, and there is no such"):
        _find(_job(tmp_path, {"train.py": SCRIPT}, "mine.py"))


def test_an_archive_that_leads_outside_is_refused(tmp_path) -> None:
    job = _job(tmp_path, {})
    with tarfile.open(job.channel("code") / "sourcedir.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../evil.py"))
    with pytest.raises(UserError, match=r"sourcedir\.tar\.gz cannot be unpacked"):
        _find(job)
    assert not (tmp_path / "evil.py").exists()


def test_a_program_that_is_no_python_is_refused(tmp_path) -> None:
    code = _find(_job(tmp_path, {"train.py": "def :"}))
    assert code is not None
    with pytest.raises(UserError, match=r"train\.py is no Python: invalid syntax"):
        _ = code.has_hooks


def test_a_module_that_cannot_be_imported_says_why(tmp_path) -> None:
    code = _find(_job(tmp_path, {"train.py": "import missing_thing\n" + HOOKS}))
    assert code is not None
    with pytest.raises(UserError, match=r"train\.py failed: ModuleNotFoundError: No module named"):
        load_hooks(code)


@pytest.mark.parametrize(
    "source",
    [
        "from beside import metric_fn\n",
        "from beside import other as read_fn\n",
        "metric_fn = lambda predictions, dtrain: ('own', 1.0)\n",
    ],
)
def test_hooks_may_be_imported_or_made(tmp_path, source: str) -> None:
    code = _find(_job(tmp_path, {"train.py": source}))
    assert code is not None
    assert code.has_hooks


def test_a_program_outside_of_the_code_is_refused(tmp_path) -> None:
    (tmp_path / "input/data").mkdir(parents=True)
    (tmp_path / "input/data/x.py").write_text(SCRIPT)
    with pytest.raises(UserError, match=r"sagemaker_program is \.\./x\.py, which leads out"):
        _find(_job(tmp_path, {}, program="../x.py"))
