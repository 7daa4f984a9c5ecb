"""An archive's ``code/requirements.txt``: what of it is missing, and installing it on demand."""

from __future__ import annotations

import fcntl
import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, DistributionFinder, packages_distributions
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mme_handler.errors import ModelLoadError
from mme_handler.models.archive import CODE_DIRECTORY

REQUIREMENTS: Final = "requirements.txt"
_LIBRARIES: Final = "lib"
_TIMEOUT: Final = 300.0

# The same module under another name on PyPI.
_ALSO_CALLED: Final = {"xgboost": "xgboost-cpu"}

_FILE_OPTION = re.compile(r"(?:-r|--requirement)(?:\s+|=)?(\S+)$")
_CONTINUED = re.compile(r"\\\n")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_OPTION_BEHIND = re.compile(r"\s--?[A-Za-z].*")
_PASSWORD = re.compile(r"(?<=//)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file that asks for something, or an option for pip."""

    text: str
    requirement: Requirement | None = None
    option: bool = False


def satisfy(
    directory: Path, install_allowed: bool, target: Path, timeout: float = _TIMEOUT
) -> None:
    """See to it that what a model's ``code/requirements.txt`` lists can be imported.

    Args:
        directory: the unpacked archive.
        install_allowed: whether what is missing may be installed.
        target: the directory to install into; it is added to ``sys.path`` if it holds anything.
        timeout: seconds that an installation may take.

    Raises:
        ModelLoadError: something is missing and may not or cannot be installed.
    """
    file = directory / CODE_DIRECTORY / REQUIREMENTS
    if not file.is_file():
        return
    libraries = file.parent / _LIBRARIES
    unmet = check(file, [libraries])
    if not unmet:
        return
    if not install_allowed:
        raise ModelLoadError(
            f"{CODE_DIRECTORY}/{REQUIREMENTS} asks for what is not there: {', '.join(unmet)}. "
            f"Put it into {CODE_DIRECTORY}/{_LIBRARIES}/ (pip install --target), or let the "
            "server install it: MME_INSTALL_REQUIREMENTS=true"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    # The processes of one model may start at the same time: the first one installs.
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir() or check(file, [libraries, target]):
            _install_whole(file, target, timeout)
    _add_to_path(target, behind=(directory, file.parent, libraries))


def check(file: Path, search: Sequence[Path]) -> list[str]:
    """What a requirements file asks for and is not installed, in readable words.

    Args:
        file: the file; others that it names with ``-r`` are read too.
        search: directories to look into before ``sys.path``.

    Raises:
        ModelLoadError: a file cannot be read, or a line is none of pip's.
    """
    path = [str(each) for each in search if each.is_dir()]
    unmet: list[str] = []
    for line in _lines(file, ()):
        if line.requirement is not None:
            unmet += _unmet(line.requirement, path)
        elif not line.option:
            unmet.append(f"{line.text} (neither name nor version can be told)")
    return list(dict.fromkeys(unmet))


def install(file: Path, target: Path, timeout: float) -> None:
    """Install what a requirements file asks for into `target`, with pip.

    What this process has imported already stays as it is: pip must find versions that go with it.

    Raises:
        ModelLoadError: pip failed, with the reason that it gives.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("".join(f"{pin}\n" for pin in _imported()))
        constraints.flush()
        options = ["--disable-pip-version-check", "--no-input", "--no-compile", "--quiet"]
        command = [
            # Without the working directory on its path: the archive may hold a json.py.
            *(sys.executable, "-I", "-m", "pip", "install", *options),
            *("--target", str(target), "--constraint", constraints.name, "-r", str(file.resolve())),
        ]
        _run(command, file.parent, timeout)


def _run(command: list[str], directory: Path, timeout: float) -> None:
    try:
        ended = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelLoadError(
            f"installing {REQUIREMENTS} took longer than {timeout:.0f} seconds"
        ) from error
    if ended.returncode:
        output = _PASSWORD.sub("", ended.stdout)
        raise ModelLoadError(
            f"{REQUIREMENTS} cannot be installed: {_reason(output)}"
        ) from RuntimeError(f"pip ended with {ended.returncode}:\n{output}")


def _reason(output: str) -> str:
    """The last line in which pip says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    last = (errors or lines or ["pip gives no reason"])[-1]
    return re.sub(r"^error:\s*", "", last, flags=re.IGNORECASE)


def _install_whole(file: Path, target: Path, timeout: float) -> None:
    """Install into `target`, which appears complete or not at all."""
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as place:
        fresh, old = Path(place, "new"), Path(place, "old")
        install(file, fresh, timeout)
        fresh.mkdir(exist_ok=True)  # pip makes none when there is nothing to install
        if target.exists():
            target.rename(old)
        fresh.rename(target)


def _add_to_path(target: Path, behind: Sequence[Path]) -> None:
    """Put `target` behind the archive's own directories, before what the server brings."""
    own = {str(path) for path in behind}
    if str(target) not in sys.path:
        places = [number + 1 for number, path in enumerate(sys.path) if path in own]
        sys.path.insert(max(places, default=0), str(target))
    importlib.invalidate_caches()


# -- Reading -------------------------------------------------------------------------------------


def _lines(file: Path, above: tuple[Path, ...]) -> Iterator[_Line]:
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ModelLoadError(f"{file.name} cannot be read: {reason}") from None
    for raw in _CONTINUED.sub("", text.replace("\r\n", "\n")).splitlines():
        line = _COMMENT.sub("", raw).strip()
        if match := _FILE_OPTION.match(line):
            other = (file.parent / match[1]).resolve()
            if other not in above:
                yield from _lines(other, (*above, file.resolve()))
        elif line:
            yield _parse(line, file)


def _parse(line: str, file: Path) -> _Line:
    if line.startswith("-"):
        return _Line(line, option=not line.startswith(("-e", "--editable")))
    wanted = _OPTION_BEHIND.sub("", line)
    try:
        return _Line(wanted, Requirement(wanted))
    except InvalidRequirement as error:
        if "/" in wanted or wanted.endswith((".whl", ".zip", ".tar.gz")):
            return _Line(_PASSWORD.sub("", wanted))
        reason = str(error).partition("\n")[0]
        raise ModelLoadError(f"{file.name} cannot be read at {wanted!r}: {reason}") from None


# -- Comparing -----------------------------------------------------------------------------------


def _unmet(requirement: Requirement, path: list[str]) -> list[str]:
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return []
    found = _find(requirement.name, path)
    if found is None:
        if _is_vendored(requirement.name, path):
            return []
        return [f"{_short(requirement)} (not installed)"]
    if not requirement.specifier.contains(found.version, prereleases=True):
        return [f"{_short(requirement)} (installed: {found.version})"]
    return [each for extra in _extra(requirement, found) for each in _unmet(extra, path)]


def _find(name: str, path: list[str]) -> Distribution | None:
    """The installed package of this name: what an import would find comes first."""
    for each in (name, _ALSO_CALLED.get(canonicalize_name(name))):
        if each:
            context = DistributionFinder.Context(name=each, path=[*path, *sys.path])
            for found in Distribution.discover(context=context):
                return found
    return None


def _is_vendored(name: str, path: list[str]) -> bool:
    """Whether a package was copied to where the model's libraries are, without its metadata."""
    module = canonicalize_name(name).replace("-", "_")
    return any(
        Path(place, member).exists() for place in path for member in (module, f"{module}.py")
    )


def _extra(requirement: Requirement, found: Distribution) -> Iterator[Requirement]:
    """What the installed package needs besides for the extras that are asked for."""
    if not requirement.extras:
        return
    for text in found.requires or []:
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            continue
        if any(needed.marker.evaluate({"extra": extra}) for extra in requirement.extras):
            needed.marker = None
            yield needed


def _short(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _imported() -> list[str]:
    """The packages that this process has imported, with their versions.

    They cannot be replaced any more, whatever is installed elsewhere.
    """
    names = {
        name
        for module, names in packages_distributions().items()
        if module in sys.modules
        for name in names
    }
    found = {name: _find(name, []) for name in names}
    pins = {str(canonicalize_name(name)): each.version for name, each in found.items() if each}
    for name, also in _ALSO_CALLED.items():
        if also in pins:
            pins.setdefault(name, pins[also])
    return sorted(f"{name}=={version}" for name, version in pins.items())
