from __future__ import annotations

import gzip
import warnings

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_handler.codecs import Schema, text_libsvm
from mme_training.data import libsvm, libsvm_exact, lines
from mme_training.data.channel import read_channel
from mme_training.errors import UserError
from support.training_data import model_bytes, read, table, write

PLACE = "train/part-0.svm, line"
NAN = np.nan


def libsvm_text(values: np.ndarray, rest: str = "") -> str:
    """Label first; `rest` stands behind each label."""
    found = []
    for label, *features in values.tolist():
        cells = [f" {i}:{value!r}" for i, value in enumerate(features) if not np.isnan(value)]
        found.append(f"{label!r}{rest}{''.join(cells)}\n")
    return "".join(found)


def dense(features) -> np.ndarray:
    matrix = np.full(features.shape, NAN, np.float32)
    for row in range(features.shape[0]):
        cells = slice(features.indptr[row], features.indptr[row + 1])
        matrix[row, features.indices[cells]] = features.data[cells]
    return matrix


def by_xgboost(path) -> xgb.DMatrix:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xgb.DMatrix(f"{path}?format=libsvm")


def refused(path, content: str | bytes, content_type: str | None = None, **options) -> str:
    write(path / "train" / "part-0.svm", content)
    with pytest.raises(UserError) as caught:
        read_channel(path / "train", content_type, **options)
    return str(caught.value)


def test_the_model_is_that_of_the_same_numbers_from_elsewhere(tmp_path) -> None:
    values = table()
    path = write(tmp_path / "train" / "a", libsvm_text(values))
    dataset = read(tmp_path / "train", None)
    np.testing.assert_array_equal(dense(dataset.features), values[:, 1:].astype(np.float32))
    np.testing.assert_array_equal(dataset.label, values[:, 0].astype(np.float32))
    reference = xgb.DMatrix(values[:, 1:], label=values[:, 0])
    assert model_bytes(dataset.matrix(1)) == model_bytes(reference)
    # Its own reader is off by a bit in some numbers.
    np.testing.assert_allclose(
        dense(by_xgboost(path).get_data()), dense(dataset.features), rtol=1e-6
    )


@pytest.mark.parametrize(
    "text",
    [
        "1 1:2 2:3\n0 1:5 3:7\n",
        "1 0:2 2:3\n0 1:5 3:7\n",
        "1:0.5 0:2 2:3\n0:2 1:5 3:7\n",
        "1 qid:1 0:2 2:3\n0 qid:1 1:5 3:7\n0 qid:4 1:5 3:7\n",
        "1 qid:9 0:2 2:3\n0 qid:3 1:5 3:7\n0 qid:3 1:5 3:7\n",
        "1:2 qid:9 0:2 2:3\n0:2 qid:10 1:5 3:7\n",
        "# begins\n1 0:2 # row\n\n0 1:5 3:7\n",
        "1 3:2 0:3\n0 1:5 3:7\n",
        "+1 0:2 1:3\n-1 1:5 3:7\n",
        "1\n0 1:5 3:7\n",
        "1 0:0 1:2\n0 1:5 3:7\n",
        "1\t1:3\t2:4\n0  1:5   3:7 \n",
        "1 0:2\r\n0 1:3\r\n",
        "1 0:1e-3 1:-2E+5\n0 1:.5 2:5.\n",
    ],
)
@pytest.mark.parametrize("fast", [True, False])
def test_it_reads_what_xgboost_reads(tmp_path, monkeypatch, text: str, fast: bool) -> None:
    if not fast:
        monkeypatch.setattr(libsvm, "_fast", lambda *_: None)
    reference = by_xgboost(write(tmp_path / "a.svm", text))
    matrix = read(tmp_path, "libsvm").matrix(1)
    assert matrix.num_col() == reference.num_col()
    np.testing.assert_array_equal(matrix.get_label(), reference.get_label())
    np.testing.assert_array_equal(matrix.get_weight(), reference.get_weight())
    if "qid" in text:
        groups = matrix.get_uint_info("group_ptr"), reference.get_uint_info("group_ptr")
        np.testing.assert_array_equal(*groups)
    np.testing.assert_array_equal(dense(matrix.get_data()), dense(reference.get_data()))


def test_plain_lines_take_the_fast_way(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(libsvm_exact, "read", None)
    text = libsvm_text(table(), ":0.5 qid:7").replace(" ", "\t", 9).replace("\n", " # x\n\n", 9)
    write(tmp_path / "a.svm", text)
    dataset = read(tmp_path, "libsvm")
    np.testing.assert_array_equal(dense(dataset.features), table()[:, 1:].astype(np.float32))
    assert set(dataset.weight.tolist()) == {0.5}
    assert set(dataset.qid.tolist()) == {0}


def test_the_columns_are_those_of_the_handler(tmp_path) -> None:
    text = libsvm_text(table())
    write(tmp_path / "a.svm", text)
    served = text_libsvm.decode(text.encode(), Schema(4))
    np.testing.assert_array_equal(dense(read(tmp_path, None).features), served)


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "null"])
def test_missing_values(tmp_path, word: str) -> None:
    write(tmp_path / "a.svm", f"1 0:{word} 1:2\n0 0:3\n")
    features = read(tmp_path, None).features
    assert features.nnz == 2
    np.testing.assert_array_equal(dense(features), np.array([[NAN, 2], [3, NAN]]))


def test_validation_is_padded_to_the_columns_of_training(tmp_path) -> None:
    write(tmp_path / "a.svm", "1 0:2\n0 1:3\n")
    assert read(tmp_path, None, columns=5).features.shape == (2, 5)


def test_several_files_and_gzip(tmp_path) -> None:
    write(tmp_path / "a.svm", "1 qid:1 0:2\n0 qid:2 3:3\n")
    write(tmp_path / "b.svm.gz", gzip.compress(b"1 qid:2 1:2\n1 qid:5 0:2"))
    dataset = read(tmp_path, "text/x-libsvm")
    assert dataset.features.shape == (4, 4)
    assert dataset.qid.tolist() == [0, 1, 1, 2]
    assert dataset.qid.dtype == np.uint32


@pytest.mark.parametrize("size", [1, 7, 64])
def test_blocks_make_no_difference(tmp_path, monkeypatch, size: int) -> None:
    write(tmp_path / "a.svm", libsvm_text(table(50)))
    whole = read(tmp_path, None)
    monkeypatch.setattr(lines, "BLOCK_BYTES", size)
    dataset = read(tmp_path, None)
    assert (dataset.features != whole.features).nnz == 0
    assert dataset.label.tolist() == whole.label.tolist()


GOOD = "1 0:2 1:3\n0 1:4\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD + "1 abc\n",
            f"{PLACE} 3: 'abc' is not index:value with a whole number of at least 0 as the index",
        ),
        (
            GOOD + "1 -1:2\n",
            f"{PLACE} 3: '-1:2' is not index:value with a whole number of at least 0 as the index",
        ),
        (
            GOOD + "1 1.5:2\n",
            f"{PLACE} 3: '1.5:2' is not index:value with a whole number of at least 0 as the index",
        ),
        (GOOD + "1 2:x\n", f"{PLACE} 3, index 2: 'x' is not a number"),
        (GOOD + "1 2:\n", f"{PLACE} 3, index 2: '' is not a number"),
        (GOOD + "1 2:3:4\n", f"{PLACE} 3, index 2: '3:4' is not a number"),
        (GOOD + "1 2:3 2:4\n", f"{PLACE} 3: index 2 is there twice"),
        (GOOD + "1 2147483648:1\n", f"{PLACE} 3: index '2147483648' is too large"),
        (
            GOOD + "1 2:1e39\n",
            f"{PLACE} 3, index 2: the value is infinite or too large for a float32: '1e39'",
        ),
        (GOOD + "x 2:1\n", f"{PLACE} 3: the label 'x' is not a number"),
        (GOOD + "nan 2:1\n", f"{PLACE} 3: the label is missing: 'nan'"),
        (
            GOOD + "inf 2:1\n",
            f"{PLACE} 3: the label is infinite or too large for a float32: 'inf'",
        ),
        (GOOD + "1:2 2:1\n", f"{PLACE} 3 has a weight, {PLACE} 1 has none; give one for each row"),
        (
            "# x\n1:1 0:1\n1 2:1\n",
            f"{PLACE} 3 has no weight, {PLACE} 2 has one; give one for each row",
        ),
        ("1:-1 0:1\n", f"{PLACE} 1: the weight is negative: '-1'"),
        ("1:x 0:1\n", f"{PLACE} 1: the weight 'x' is not a number"),
        (
            "1 qid:1 0:1\n1 2:1\n",
            f"{PLACE} 2 has no qid, {PLACE} 1 has one; give one for each row",
        ),
        (
            "1 qid:-1 0:1\n",
            f"{PLACE} 1: 'qid:-1' is not qid:number with a whole number below 2**32",
        ),
        (
            "1 qid:1 0:1\n1 qid:2 0:1\n1 qid:1 0:1\n",
            "train/part-0.svm: qid 1 is there again after other queries; the rows of a query must "
            "stand together, in one file or in files that follow each other",
        ),
        ("1\n0\n", "train/part-0.svm: no row has an index:value, so there are no features"),
        (GOOD + "1 0:\0\n", f"{PLACE} 3: there is a NUL byte; the file is damaged"),
        (GOOD.encode() + b"1 0:\xff\n", f"{PLACE} 3: byte 5 (0xff) is not valid UTF-8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text: str | bytes, message: str) -> None:
    assert refused(tmp_path, text) == message


def test_an_index_that_training_does_not_have(tmp_path) -> None:
    assert refused(tmp_path, GOOD + "1 0:1 2:4\n", columns=2) == (
        f"{PLACE} 3: index 2 is beyond the training channel's 2 features, which are 0 to 1"
    )


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.tuples(NUMBERS, *[st.one_of(NUMBERS, st.just(NAN))] * 4)


@settings(max_examples=60)
@given(rows=st.lists(ROWS, min_size=1, max_size=20), rest=st.sampled_from(["", ":2", " qid:3"]))
def test_any_table_is_read_back(tmp_path_factory, rows: list, rest: str) -> None:
    path = tmp_path_factory.mktemp("channel")
    values = np.array(rows)
    write(path / "a.svm", libsvm_text(values, rest))
    dataset = read(path, None, columns=4)
    np.testing.assert_array_equal(dense(dataset.features), values[:, 1:].astype(np.float32))
    np.testing.assert_array_equal(dataset.label, values[:, 0].astype(np.float32))


@settings(max_examples=200)
@given(
    place=st.integers(0, 200),
    removed=st.integers(0, 5),
    added=st.one_of(
        st.binary(max_size=4),
        st.text(':#|\t\n\r "0123456789.eE+-nailqd', max_size=6).map(str.encode),
    ),
)
def test_damage_is_read_alike_both_ways(tmp_path_factory, place, removed, added) -> None:
    path = tmp_path_factory.mktemp("train")
    content = libsvm_text(table(10)).encode()
    write(path / "part.svm", content[:place] + added + content[place + removed :])
    found = []
    for fast in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not fast:
                patch.setattr(libsvm, "_fast", lambda *_: None)
            try:
                dataset = read(path, "libsvm")
            except UserError as error:
                found.append(str(error))
            else:
                found.append((dense(dataset.features).tobytes(), dataset.label.tolist()))
    assert found[0] == found[1]
    assert isinstance(found[0], tuple) or "part.svm" in found[0]
