"""mme.toml and mme.json."""

from __future__ import annotations

import math

import pytest

from mme_handler.errors import ModelLoadError
from mme_handler.models import settings

FULL = """
missing = -999
output = "predicted_label, probability"
default_accept = "text/csv"
device = "cpu"
threads = 2
timeout = 5
memory = "30m"
batch_size = 1000
trees = "best_iteration"
libsvm_index_base = 1
"""


def read(directory, text, name="mme.toml"):
    (directory / name).write_text(text)
    return settings.read(directory)


def test_none(tmp_path):
    found = settings.read(tmp_path)
    assert math.isnan(found.missing)
    assert (found.output, found.threads, found.trees) == (None, 1, "all")


def test_toml(tmp_path):
    found = read(tmp_path, FULL)
    assert found.missing == -999.0
    assert found.memory == 30 << 20
    assert (found.timeout, found.batch_size, found.libsvm_index_base) == (5.0, 1000, 1)


def test_json(tmp_path):
    assert read(tmp_path, '{"missing": -1, "threads": 3}', "mme.json").threads == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mising = -1", "mme.toml: unknown key 'mising': did you mean 'missing'?"),
        ("zzz = 1", "unknown key 'zzz': known are missing, output, default_accept"),
        ("missing = true", "missing: Input should be a valid number"),
        ('missing = "-999"', "missing: Input should be a valid number"),
        ("threads = 0", "threads: Input should be greater than or equal to 1"),
        ("threads = 1.5", "threads: Input should be a valid integer"),
        ('device = "gpu"', "device: Input should be 'auto', 'cpu' or 'cuda'"),
        ('output = "probabilty"', "output: unknown output 'probabilty': did you mean"),
        ('memory = "much"', "memory: 'much' is not a size"),
        ("libsvm_index_base = 2", "libsvm_index_base: Input should be 0 or 1"),
        ("timeout = 1e-9", "timeout: Input should be greater than or equal to 0.001"),
        ("missing = inf", "missing: infinity is never accepted"),
        ("[table]\nx = 1", "unknown key 'table'"),
        ("threads = 0\nmising = 1", "unknown key 'mising'"),
        ("missing =", "mme.toml cannot be read: Invalid value"),
        ("a" * 70_000, "mme.toml is larger than 64 kB"),
    ],
)
def test_bad(tmp_path, text, message):
    with pytest.raises(ModelLoadError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_bad_json(tmp_path):
    with pytest.raises(ModelLoadError, match=r"mme\.json cannot be read: unexpected"):
        read(tmp_path, "{", "mme.json")
    with pytest.raises(ModelLoadError, match="valid dictionary"):
        read(tmp_path, "[]", "mme.json")


def test_not_utf8(tmp_path):
    (tmp_path / "mme.toml").write_bytes(b"missing = \xff")
    with pytest.raises(ModelLoadError, match="cannot be read"):
        settings.read(tmp_path)


def test_both(tmp_path):
    (tmp_path / "mme.json").write_text("{}")
    with pytest.raises(ModelLoadError, match=r"holds both mme\.toml and mme\.json"):
        read(tmp_path, "")
