"""Turn a model file that today's XGBoost cannot read into UBJSON or JSON.

XGBoost 3.1 dropped its old binary format, so an XGBoost that can still read it does the work: one
that the caller has, or one installed for the purpose into a temporary virtual environment.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import xgboost as xgb

from mme_training import pip

DEFAULT_VERSION: Final = "3.0.5"
"""The newest XGBoost that reads the old binary format; it reads all that 1.0 and later wrote."""

_SUFFIXES = (".json", ".ubj")
_VERSION = re.compile(r"\d+(\.\d+){1,2}((rc|\.post)\d+)?")
_PLACE = re.compile(r"^\[\d\d:\d\d:\d\d\] \S+:\d+: ")
_SECONDS_TO_CONVERT = 600

# Runs with the old XGBoost, so it keeps to what every version since 1.0 knows. The bytes are
# loaded rather than the file, for then the format is told by content and not by name.
_SCRIPT = """
import json, sys
try:
    import xgboost
except Exception as error:
    sys.exit("%s cannot import xgboost: %s" % (sys.executable, error))
try:
    with open(sys.argv[1], "rb") as file:
        data = bytearray(file.read())
    booster = xgboost.Booster()
    booster.load_model(data)
    booster.save_model(sys.argv[2])
except Exception as error:
    sys.exit("XGBoost %s cannot convert it: %s" % (xgboost.__version__, error or repr(error)))
print(json.dumps(xgboost.__version__))
"""


class ConvertError(Exception):
    """A model cannot be converted; the message is one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted model: its `features` and `rounds`, and the `version` of XGBoost that read it."""

    features: int
    rounds: int
    version: str


def convert(
    source: Path,
    target: Path,
    version: str = DEFAULT_VERSION,
    python: Path | None = None,
    force: bool = False,
) -> Converted:
    """Write the model of `source` to `target`, as UBJSON or JSON by the suffix of `target`.

    The XGBoost of the interpreter `python` does it; without one, XGBoost `version` is installed
    into a temporary virtual environment. `target` appears only once the XGBoost installed here
    has loaded it, and replaces what was there only with `force`.

    Raises:
        ConvertError: there is no such source or interpreter, the target exists or has another
            suffix, XGBoost cannot be installed, or it cannot read the model.
    """
    try:
        _check(source, target, version, force)
        with tempfile.TemporaryDirectory(prefix="mme-convert-") as directory:
            place = Path(directory)
            result = place / f"model{target.suffix}"
            script = ["-c", _SCRIPT, str(source.absolute()), str(result)]
            if python is None:
                # -I: of the environment made for it alone, whatever PYTHONPATH says.
                command = [str(_install(version, place / "venv")), "-I", *script]
            else:
                command = [str(_interpreter(python)), *script]
            used = _convert(command, place, source)
            features, rounds = _verify(result)
            _put(result, target)
    except OSError as error:
        raise ConvertError(f"{error.filename or target}: {error.strerror or error}") from error
    return Converted(features, rounds, used)


def _check(source: Path, target: Path, version: str, force: bool) -> None:
    if not source.is_file():
        raise ConvertError(f"{source} is not a file" if source.exists() else f"no file {source}")
    if target.suffix not in _SUFFIXES:
        raise ConvertError(f"{target} must end in .ubj or .json, which says the format to write")
    if not target.parent.is_dir():
        raise ConvertError(f"no directory {target.parent} to write {target.name} to")
    if target.is_dir():
        raise ConvertError(f"{target} is a directory")
    if target.exists() and target.samefile(source):
        raise ConvertError(f"{target} is the source itself: give another name")
    if target.exists() and not force:
        raise ConvertError(f"{target} exists: give another name, or --force to replace it")
    if not _VERSION.fullmatch(version):
        raise ConvertError(f"{version!r} is not a version of XGBoost, such as {DEFAULT_VERSION}")


def _interpreter(python: Path) -> Path:
    found = shutil.which(python) or shutil.which(python.absolute())
    if found is None:
        raise ConvertError(f"no Python interpreter {python}")
    # Not resolved: the python of a virtual environment is a link, and its place is what counts.
    return Path(found).absolute()


def _install(version: str, directory: Path) -> Path:
    """Install XGBoost into a new virtual environment; return its interpreter."""
    _run([sys.executable, "-m", "venv", str(directory)], "a virtual environment cannot be made")
    interpreter = directory / "bin" / "python"
    wrong = f"XGBoost {version} cannot be installed"
    try:
        _run([str(interpreter), *pip.INSTALL, f"xgboost-cpu=={version}"], wrong)
    except ConvertError:  # Not every version has a package without CUDA.
        _run([str(interpreter), *pip.INSTALL, f"xgboost=={version}"], wrong)
    return interpreter


def _run(command: list[str], wrong: str) -> None:
    try:
        pip.run(command)
    except pip.PipError as error:
        raise ConvertError(f"{wrong}: {error}") from error


def _convert(command: list[str], place: Path, source: Path) -> str:
    """Run the script in `place`; return the version of XGBoost that did the work."""
    try:
        done = subprocess.run(
            command,
            cwd=place,  # Python looks for modules in the working directory first.
            capture_output=True,
            text=True,
            timeout=_SECONDS_TO_CONVERT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConvertError(f"the conversion took more than {_SECONDS_TO_CONVERT} s") from error
    if done.returncode < 0:
        raise ConvertError(
            f"{source}: XGBoost crashed on it (signal {-done.returncode}), so it is no model file, "
            "or a damaged one"
        )
    if done.returncode:
        raise ConvertError(f"{source}: {_said(done.stderr)}")
    return str(json.loads(done.stdout.splitlines()[-1]))


def _said(text: str) -> str:
    """The script's own message, without the place in XGBoost's source and without its stack."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = (line for line in lines if re.search(r"XGBoost \S+ cannot| cannot import xgboost", line))
    message = next(own, lines[-1] if lines else "no reason given")
    before, found, after = message.partition(" cannot convert it: ")
    if not found:
        return message
    reason = _PLACE.sub("", after).rstrip(".")
    return f"{before}{found}{reason} (the old binary format needs XGBoost 1.0 to 3.0)"


def _verify(result: Path) -> tuple[int, int]:
    """Load the result with the XGBoost installed here; return its features and its rounds."""
    with result.open("rb") as file:
        if file.read(1) != b"{":
            # Before 1.6 XGBoost knew no UBJSON and wrote the old format under that name.
            raise ConvertError(
                f"that XGBoost does not write {result.suffix}: convert to .json, or use a newer one"
            )
    booster = xgb.Booster()
    try:
        booster.load_model(result)
    except xgb.core.XGBoostError as error:
        reason = _PLACE.sub("", str(error).strip().splitlines()[0])
        raise ConvertError(
            f"XGBoost {xgb.__version__} cannot load the converted model: {reason}"
        ) from error
    return booster.num_features(), booster.num_boosted_rounds()


def _put(result: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".part")
    try:
        shutil.copyfile(result, partial)  # A rename does not lead from one disk to another.
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
