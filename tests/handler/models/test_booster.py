"""Every model file loads, and no other file does, or harms the process that tries."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mme_handler.errors import ModelLoadError, OutOfMemoryError
from mme_handler.models import booster as module
from mme_handler.models import checks
from mme_handler.models.booster import load_booster, sniff

INSTALLED = tuple(int(part) for part in xgb.__version__.split(".")[:3])


def key(name: bytes) -> bytes:
    return b"L" + struct.pack(">q", len(name)) + name


def ubj_version(*version: int) -> bytes:
    numbers = b"".join(b"i" + bytes([part]) for part in version)
    return key(b"version") + b"[#L" + struct.pack(">q", len(version)) + numbers


def refusal(path: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        load_booster(path)
    message = str(caught.value)
    assert repr(path.name) in message
    assert str(path.parent) not in message
    assert "\n" not in message
    assert "[bt]" not in message
    return message


def test_info_tells_what_the_file_says(case: Any) -> None:
    info = case.loaded.info
    assert info.version == INSTALLED
    assert info.booster == {"dart": "dart"}.get(case.name, case.name.split("_")[0]) or (
        info.booster == "gbtree"
    )
    assert info.features == case.booster.num_features()
    assert list(info.feature_names or ()) == (case.booster.feature_names or [])
    assert list(info.feature_types or ()) == (case.booster.feature_types or [])
    assert info.categorical == (case.name == "categorical")
    config = json.loads(case.booster.save_config())["learner"]
    assert info.objective == config["learner_train_param"]["objective"]


def test_format_and_size(model_file: Path) -> None:
    loaded = load_booster(model_file)
    assert sniff(model_file) == loaded.info.format == model_file.suffix[1:]
    assert loaded.info.file_bytes == model_file.stat().st_size


def test_one_thread(model_file: Path) -> None:
    config = json.loads(load_booster(model_file).booster.save_config())
    assert config["learner"]["generic_param"]["nthread"] == "1"


def test_format_is_told_by_content_not_by_name(model_file: Path, tmp_path: Path) -> None:
    other = model_file.rename(tmp_path / "xgboost-model")
    assert load_booster(other).info.format == model_file.suffix[1:]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("around", ["", " \r\n\t"])
def test_json_written_by_hand(json_file: Path, indent: int | None, around: str) -> None:
    model = json.loads(json_file.read_text())
    model = {"version": model.pop("version"), **model, "x": "[" * 99 + '\\"{'}
    json_file.write_text(around + json.dumps(model, indent=indent) + around)
    assert load_booster(json_file).info.version == INSTALLED


def test_version_may_be_absent(ubj: Path, json_file: Path) -> None:
    data = ubj.read_bytes()
    ubj.write_bytes(data[: data.rindex(key(b"version"))] + b"}")
    assert load_booster(ubj).info.version is None
    model = json.loads(json_file.read_text())
    del model["version"]
    json_file.write_text(json.dumps(model))
    assert load_booster(json_file).info.version is None


def test_version_need_not_be_last_in_ubj(ubj: Path) -> None:
    data = ubj.read_bytes()
    tail = data[data.rindex(key(b"version")) : -1]
    ubj.write_bytes(b"{" + tail + data[1 : -len(tail) - 1] + b"}")
    assert load_booster(ubj).info.version == INSTALLED


def test_version_numbers_of_any_width(ubj: Path) -> None:
    data = ubj.read_bytes()
    start = data[: data.rindex(key(b"version"))]
    wide = b"I\0\3" + b"l\0\0\0\1" + b"L" + struct.pack(">q", 300)
    ubj.write_bytes(start + key(b"version") + b"[#L" + struct.pack(">q", 3) + wide + b"}")
    assert load_booster(ubj).info.version == (3, 1, 300)


@pytest.mark.parametrize("version", [(9, 9, 0), (INSTALLED[0], INSTALLED[1] + 1, 0)])
def test_newer_model_is_refused(ubj: Path, json_file: Path, version: tuple[int, ...]) -> None:
    data = ubj.read_bytes()
    ubj.write_bytes(data.replace(ubj_version(*INSTALLED), ubj_version(*version)))
    text = json_file.read_text()
    json_file.write_text(
        text.replace(f'"version":{list(INSTALLED)}'.replace(" ", ""), f'"version":{list(version)}')
    )
    for path in (ubj, json_file):
        message = refusal(path)
        assert ".".join(map(str, version)) in message
        assert xgb.__version__ in message


def test_newer_model_never_reaches_the_library(
    json_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    json_file.write_text('{"version": [9, 9, 0], "learner": {}}')
    monkeypatch.setattr(module.xgb, "Booster", lambda *_: pytest.fail("was handed on"))
    assert "9.9.0" in refusal(json_file)


def test_newer_patch_version_loads(ubj: Path) -> None:
    newer = (*INSTALLED[:2], 99)
    ubj.write_bytes(ubj.read_bytes().replace(ubj_version(*INSTALLED), ubj_version(*newer)))
    assert load_booster(ubj).info.version == newer


def old_binary(prefix: bytes) -> bytes:
    header = struct.pack("<fIiiiII", 0.5, 7, 0, 0, 0, 1, 0) + bytes(4 * 27)
    names = struct.pack("<Q", 10) + b"reg:linear" + struct.pack("<Q", 6) + b"gbtree"
    return prefix + header + names + bytes(200)


class Trap:
    """Unpickling it shows."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.putenv, ("MME_TEST_UNPICKLED", "1")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.ubj", b"{L")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        *((pickle.dumps(Trap(), protocol), "MME_ALLOW_PICKLE=true") for protocol in (2, 3, 4, 5)),
        (pickle.dumps(xgb.XGBRegressor(), 0), "pickle"),
        (old_binary(b""), r"1\.0 to 3\.0 can read .* `mme convert OLD NEW --xgboost 3\.0\.5`"),
        (old_binary(b"binf"), "old binary"),
        (gzip.compress(b"{L"), "gzip"),
        (zipped(), "zip"),
        (b"booster[0]:\n0:[f1<2] yes=1", "dump_model"),
        (b'[\n  { "nodeid": 0 }]', "dump_model"),
        (b"not a model", "not an XGBoost model"),
        (b"{", "not an XGBoost model"),
        (b"{}", "not an XGBoost model"),
        (b"\0" * 1000, "not an XGBoost model"),
        (b'{"a": 1}', "cannot be loaded"),
        (b'{"learner": {}, "version": [3, 0, 0]}', "cannot be loaded"),
        (b"{" + key(b"a") + b"i\1}", "cannot be loaded"),
        (b"{" + ubj_version(3, 0, 0) + b"}", "cannot be loaded"),
        (b'{"\xff\xfe":', "cannot be loaded"),
        (b"{" + key(b"a") + b"S" + key(b"")[:1] + b"\xff" * 8 + b"}", "damaged"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "xgboost-model"
    path.write_bytes(data)
    assert re.search(says, refusal(path))
    assert "MME_TEST_UNPICKLED" not in os.environ


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "absent.ubj")
    (tmp_path / "folder").mkdir()
    assert "directory" in refusal(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    assert "regular" in refusal(tmp_path / "pipe")
    with pytest.raises(ModelLoadError, match="does not exist"):
        sniff(tmp_path / "absent.ubj")


def test_unreadable_file_is_refused(ubj: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(ubj))

    monkeypatch.setattr(Path, "open", deny)
    assert "Permission denied" in refusal(ubj)


def test_unknown_objective_is_named(json_file: Path) -> None:
    json_file.write_text(json_file.read_text().replace("reg:squarederror", "reg:mine"))
    assert "Unknown objective function: `reg:mine`" in refusal(json_file)


@pytest.mark.parametrize("error", [MemoryError(), xgb.core.XGBoostError("std::bad_alloc")])
def test_no_memory(ubj: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(module.xgb.Booster, "load_model", fail)
    with pytest.raises(OutOfMemoryError, match=r"'model\.ubj'"):
        load_booster(ubj)


def test_garbled_length_is_damage_and_not_a_lack_of_memory(ubj: Path) -> None:
    data = bytearray(ubj.read_bytes())
    data[data.index(b"[$d#L") + 5] = 0x7F
    ubj.write_bytes(data)
    assert "damaged" in refusal(ubj)


def in_a_process_of_its_own(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout


def test_truncated_anywhere_raises_and_never_crashes(model_file: Path, tmp_path: Path) -> None:
    # libxgboost reads beyond the end of a UBJSON buffer that is cut short.
    code = """
        import sys
        from pathlib import Path
        from mme_handler.errors import ModelLoadError
        from mme_handler.models.booster import load_booster
        whole, cut = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
        end = len(whole)
        for size in [*range(200), *range(200, end - 200, 37), *range(end - 200, end)]:
            cut.write_bytes(whole[:size])
            try:
                load_booster(cut)
            except ModelLoadError:
                continue
            sys.exit(f"loaded {size} of {end} bytes")
    """
    in_a_process_of_its_own(code, model_file, tmp_path / "cut")


def nested(kind: str, depth: int) -> bytes:
    version = ubj_version(*INSTALLED) + b"}"
    count = b"#L" + struct.pack(">q", 1)
    json_end = b',"version":' + json.dumps(INSTALLED).encode() + b"}"
    return {
        "json arrays": b'{"a":' + b"[" * depth + b"]" * depth + json_end,
        "json objects": b'{"a":' * depth + b"1" + b"}" * depth,
        "json unclosed": b'{"a":' + b"[" * depth,
        "json hidden by strings": b'{"a":' + b'["]",' * depth + b"1" + b"]" * depth + json_end,
        "json hidden by escapes": b'{"a":' + b'["\\"]",' * depth + b"1" + b"]" * depth + json_end,
        "ubj arrays": b"{" + key(b"a") + b"[" * depth + b"]" * depth + version,
        "ubj counted": b"{" + key(b"a") + (b"[" + count) * depth + b"i\1" + version,
        "ubj objects": (b"{" + key(b"a")) * depth + b"i\1" + b"}" * depth,
        "ubj late": b"{" + key(b"a") + b"[i\1" * depth + b"]" * depth + version,
        "ubj mixed": b"{" + key(b"a") + (b"[{" + key(b"")) * depth + b"i\1" + b"}]" * depth,
        "ubj unclosed": b"{" + key(b"a") + b"[" * depth + version,
    }[kind]


KINDS = [
    "json arrays",
    "json objects",
    "json unclosed",
    "json hidden by strings",
    "json hidden by escapes",
    "ubj arrays",
    "ubj counted",
    "ubj objects",
    "ubj late",
    "ubj mixed",
    "ubj unclosed",
]


@pytest.mark.parametrize("kind", KINDS)
def test_deep_nesting_raises_and_never_crashes(kind: str, tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from mme_handler.errors import ModelLoadError
        from mme_handler.models.booster import load_booster
        try:
            load_booster(Path(sys.argv[1]))
        except ModelLoadError as error:
            print(error)
    """
    path = tmp_path / "deep"
    path.write_bytes(nested(kind, 200_000))
    assert "cannot be loaded" in in_a_process_of_its_own(code, path)


def test_shallow_nesting_is_left_to_the_library(tmp_path: Path) -> None:
    for kind in KINDS:
        path = tmp_path / "shallow"
        path.write_bytes(nested(kind, 20))
        refusal(path)


def test_a_model_of_many_trees_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    booster = xgb.train(
        {"max_depth": 1, "nthread": 1, "num_parallel_tree": 250},
        xgb.DMatrix(rows, rows[:, 0]),
        10,
    )
    walks: list[bytearray] = []
    walk = checks._walk_ubj
    monkeypatch.setattr(checks, "_walk_ubj", lambda data: (walks.append(data), walk(data)))
    for name in ("model.ubj", "model.json"):
        booster.save_model(tmp_path / name)
        assert load_booster(tmp_path / name).booster.num_boosted_rounds() == 10
    assert len(walks) == 1


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=600), start=st.sampled_from([b"", b"{L", b"{" + key(b"a"), b'{"']))
def test_garbage_is_refused(tmp_path: Path, data: bytes, start: bytes) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(start + data)
    refusal(path)


def test_large_garbage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    for start in (b"", b"{L", b'{"'):
        path.write_bytes(start + random.Random(5).randbytes(300_000))
        refusal(path)


def test_memory_to_load_is_bounded(simple: xgb.Booster, tmp_path: Path) -> None:
    large = simple.copy()
    large.set_attr(notes="x" * 20_000_000)
    for name, limit in (("model.ubj", 22_000_000), ("model.json", 42_000_000)):
        large.save_model(tmp_path / name)
        tracemalloc.start()
        load_booster(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < limit
