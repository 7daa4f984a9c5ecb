"""What a model's requirements.txt asks for: checked, and installed when that is allowed."""

from __future__ import annotations

import sys
import zipfile

import pytest

from mme_handler import requirements
from mme_handler.errors import ModelLoadError
from mme_handler.requirements import check, install, satisfy


@pytest.fixture
def file(tmp_path):
    code = tmp_path / "model" / "code"
    code.mkdir(parents=True)
    return code / "requirements.txt"


@pytest.fixture
def path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def add_package(place, name, version, *needs):
    """As pip would have installed it into `place`."""
    info = place / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    info.joinpath("METADATA").write_text("\n".join([*lines, *needs]) + "\n")


def make_wheel(directory, name="mme_example", version="1.0"):
    """A wheel that pip can install without a network."""
    info = f"{name}-{version}.dist-info"
    wheel = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


# -- Checking ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "unmet"),
    [
        ("", []),
        ("# lightgbm", []),
        ("numpy", []),
        ("numpy>=1.20  # for the arrays", []),
        ("NumPy >= 1.20", []),
        ("xgboost>=2", []),
        ("pydantic_settings", []),
        ("numpy>=1.20 \\\n  --hash=sha256:00 \\\n  --hash=sha256:11", []),
        ("numpy>=1.20 --config-settings=a=b", []),
        ("not-there; python_version < '3'", []),
        ("not-there; python_version > '3'", ["not-there (not installed)"]),
        ("not_there==1.0", ["not_there==1.0 (not installed)"]),
        ("not-there[a,b]>=1", ["not-there[a,b]>=1 (not installed)"]),
        ("numpy>=1000", ["numpy>=1000 (installed: {numpy})"]),
        ("xgboost<1", ["xgboost<1 (installed: {xgboost})"]),
        ("numpy>=1000\nnumpy>=1000", ["numpy>=1000 (installed: {numpy})"]),
        ("--index-url https://example.invalid/simple\n--no-binary :all:\n-c other.txt", []),
        ("numpy @ https://example.invalid/numpy.whl", []),
        ("./wheels/a.whl", ["./wheels/a.whl (neither name nor version can be told)"]),
        ("-e ./here", ["-e ./here (neither name nor version can be told)"]),
        (
            "git+https://user:secret@example.invalid/a.git",
            ["git+https://example.invalid/a.git (neither name nor version can be told)"],
        ),
    ],
)
def test_check(file, line, unmet):
    import numpy
    import xgboost

    file.write_text(line + "\n")
    versions = {"numpy": numpy.__version__, "xgboost": xgboost.__version__}
    assert check(file, []) == [each.format(**versions) for each in unmet]


def test_check_reads_further_files(file):
    file.write_text("-r more/base.txt\n--requirement=other.txt\nnot-there-1\n")
    (file.parent / "more").mkdir()
    (file.parent / "more" / "base.txt").write_bytes(
        b"\xef\xbb\xbfnot-there-2\r\n-r ../other.txt\r\n"
    )
    (file.parent / "other.txt").write_text("not-there-3\n-r requirements.txt\n")
    found = [text.partition(" ")[0] for text in check(file, [])]
    assert found == ["not-there-2", "not-there-3", "not-there-1"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"numpy >> 1\n", "requirements.txt cannot be read at 'numpy >> 1': "),
        (b"-r missing.txt\n", "missing.txt cannot be read: No such file"),
        (b"\xff\xfe\x00", "requirements.txt cannot be read: it is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read(file, content, reason):
    file.write_bytes(content)
    with pytest.raises(ModelLoadError) as caught:
        check(file, [])
    assert str(caught.value).startswith(reason)


def test_check_looks_into_the_given_directories_first(file):
    lib, target = file.parent / "lib", file.parent / "target"
    file.write_text("mme-example>=2\nnumpy>=1000\nonly-copied\n")
    assert len(check(file, [lib, target])) == 3
    add_package(lib, "numpy", "1000.0")
    add_package(target, "mme_example", "2.1rc1")
    (lib / "only_copied").mkdir()
    assert check(file, [lib, target]) == []


def test_check_knows_extras(file):
    lib = file.parent / "lib"
    needs = ["Provides-Extra: fast", "Requires-Dist: not-there>=2; extra == 'fast'"]
    add_package(lib, "mme_example", "1.0", *needs)
    file.write_text("mme-example\n")
    assert check(file, [lib]) == []
    file.write_text("mme-example[fast]\n")
    assert check(file, [lib]) == ["not-there>=2 (not installed)"]


# -- Satisfying ----------------------------------------------------------------------------------


def test_without_a_file_nothing_happens(file, path, tmp_path, monkeypatch):
    monkeypatch.setattr(requirements, "check", None)
    satisfy(file.parents[1], True, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_what_is_missing_is_named_with_the_ways_out(file, path, tmp_path):
    file.write_text("not-there-1>=3\nnot-there-2\n")
    with pytest.raises(ModelLoadError) as caught:
        satisfy(file.parents[1], False, tmp_path / "target")
    assert str(caught.value) == (
        "code/requirements.txt asks for what is not there: not-there-1>=3 (not installed), "
        "not-there-2 (not installed). Put it into code/lib/ (pip install --target), or let the "
        "server install it: MME_INSTALL_REQUIREMENTS=true"
    )


def test_what_is_in_lib_is_met(file, path, tmp_path):
    file.write_text("mme-example\n")
    add_package(file.parent / "lib", "mme_example", "1.0")
    satisfy(file.parents[1], False, tmp_path / "target")


def test_install(file, path, tmp_path, monkeypatch):
    """Once; what is installed is found behind the model's own code."""
    make_wheel(file.parent)
    file.write_text("--no-index\n--find-links .\nmme-example\nnumpy; python_version < '3'\n")
    # pip runs where the archive is, and must not import from there.
    (file.parent / "json.py").write_text("raise RuntimeError('shadow')\n")
    directory, target = file.parents[1], tmp_path / "packages" / "model"
    sys.path[:0] = [str(file.parent), str(directory)]
    satisfy(directory, True, target)
    assert sys.path[:3] == [str(file.parent), str(directory), str(target)]
    assert (target / "mme_example.py").read_text() == "VERSION = '1.0'\n"
    assert sorted(each.name for each in target.parent.iterdir()) == ["model", "model.lock"]

    monkeypatch.setattr(requirements, "install", None)
    sys.path.remove(str(target))
    satisfy(directory, True, target)
    assert sys.path[2] == str(target)


def test_install_says_why_pip_failed(file, path, tmp_path):
    file.write_text("--no-index\nnot-there==1.0\n")
    with pytest.raises(ModelLoadError) as caught:
        satisfy(file.parents[1], True, tmp_path / "target")
    assert str(caught.value) == (
        "requirements.txt cannot be installed: No matching distribution found for not-there==1.0"
    )
    assert "Could not find a version" in str(caught.value.__cause__)
    assert not (tmp_path / "target").exists()


def test_install_keeps_to_what_is_imported(file, tmp_path):
    """A second NumPy beside the one that this process has imported would not be imported."""
    make_wheel(file.parent, "numpy", "1000.0")
    file.write_text("--no-index\n--find-links .\nnumpy>=1000\n")
    with pytest.raises(ModelLoadError, match="cannot be installed"):
        install(file, tmp_path / "target", 60)


def test_install_takes_no_longer_than_it_may(file, tmp_path):
    file.write_text("numpy\n")
    with pytest.raises(ModelLoadError, match="took longer than 0 seconds"):
        install(file, tmp_path / "target", 0.01)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("ERROR: first\nERROR: second\n\nhint: see above\n", "second"),
        ("Collecting\nerror: subprocess-exited-with-error\n", "subprocess-exited-with-error"),
        ("/usr/bin/python: No module named pip\n", "/usr/bin/python: No module named pip"),
        ("", "pip gives no reason"),
    ],
)
def test_the_last_meaningful_line(output, reason):
    assert requirements._reason(output) == reason
