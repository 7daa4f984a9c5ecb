from __future__ import annotations

import struct

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_handler.codecs.recordio_protobuf import make_record_type
from mme_training.data import recordio, recordio_bulk
from mme_training.data.channel import read_channel
from mme_training.errors import UserError
from support.training_data import frame, model_bytes, read, record, table, tensor, write

TYPE = "application/x-recordio-protobuf"
WHERE = "train/a.rec, record"
NAN = np.nan


def refused(path, content: bytes, **options) -> str:
    write(path / "train" / "a.rec", content)
    with pytest.raises(UserError) as caught:
        read_channel(path / "train", TYPE, **options)
    return str(caught.value)


def dense(features) -> np.ndarray:
    matrix = np.full(features.shape, NAN, np.float32)
    for row in range(features.shape[0]):
        cells = slice(features.indptr[row], features.indptr[row + 1])
        matrix[row, features.indices[cells]] = features.data[cells]
    return matrix


def with_label(features, label, kind: str) -> bytes:
    message = make_record_type()()
    tensor(message.features["values"], features)
    tensor(message.label["values"], label, kind=kind)
    return frame(message.SerializeToString())


@pytest.mark.parametrize("kind", ["float32_tensor", "float64_tensor"])
@pytest.mark.parametrize("bulk", [True, False])
def test_the_model_is_that_of_the_same_numbers(tmp_path, monkeypatch, kind: str, bulk) -> None:
    if bulk:
        monkeypatch.setattr(recordio, "_features", None)
    else:
        monkeypatch.setattr(recordio, "read_equal", lambda *_: None)
    values = table()
    content = b"".join(record(row[1:], row[:1], kind=kind) for row in values)
    write(tmp_path / "a.rec", content)
    dataset = read(tmp_path, "recordio-protobuf")
    np.testing.assert_array_equal(dataset.features, values[:, 1:].astype(np.float32))
    np.testing.assert_array_equal(dataset.label, values[:, 0].astype(np.float32))
    assert dataset.features.flags.c_contiguous
    reference = xgb.DMatrix(values[:, 1:], label=values[:, 0])
    assert model_bytes(dataset.matrix(1)) == model_bytes(reference)


@pytest.mark.parametrize("size", [1, 100])
def test_batches_make_no_difference(tmp_path, monkeypatch, size: int) -> None:
    monkeypatch.setattr(recordio_bulk, "_BATCH_BYTES", size)
    values = table()
    write(tmp_path / "a.rec", b"".join(record(row[1:], row[:1]) for row in values))
    features = read(tmp_path, TYPE).features
    np.testing.assert_array_equal(features, values[:, 1:].astype(np.float32))


@pytest.mark.parametrize("labels", [[1, 0, 1], [1, 0, 300], [1, -1, 0], [300, 0, 1]])
def test_labels_that_are_whole_numbers(tmp_path, labels: list[int]) -> None:
    records = [with_label([n, 2.0], [label], "int32_tensor") for n, label in enumerate(labels)]
    write(tmp_path / "a.rec", b"".join(records))
    dataset = read(tmp_path, TYPE)
    assert dataset.label.tolist() == labels
    assert dataset.features.tolist() == [[0, 2], [1, 2], [2, 2]]


def test_other_records_after_equal_ones(tmp_path) -> None:
    records = [record([1, 2], [0])] * 5 + [record([3, 4], [1], kind="float64_tensor")]
    write(tmp_path / "a.rec", b"".join([*records, records[0]]))
    dataset = read(tmp_path, TYPE)
    assert dataset.features.tolist() == [[1, 2]] * 5 + [[3, 4], [1, 2]]
    assert dataset.label.tolist() == [0] * 5 + [1, 0]


def test_sparse_records(tmp_path) -> None:
    records = [
        record([5.0, 4.0], [1], keys=[3, 0]),
        record([], [0], shape=[6]),
        record([0.0, NAN], [1], keys=[1, 2], shape=[6]),
    ]
    write(tmp_path / "a.rec", b"".join(records))
    dataset = read(tmp_path, TYPE)
    expected = np.full((3, 6), NAN)
    expected[0, [0, 3]] = [4, 5]
    expected[2, 1] = 0
    np.testing.assert_array_equal(dense(dataset.features), expected)
    assert dataset.label.tolist() == [1, 0, 1]
    assert read(tmp_path, TYPE, columns=9).features.shape == (3, 9)


def test_dense_and_sparse_records(tmp_path) -> None:
    write(tmp_path / "a.rec", record([1.0, NAN, 0.0], [1]) * 2)
    write(tmp_path / "b.rec", record([1.0, 2, 3], [1]) + record([5.0], [1], keys=[4]))
    expected = np.full((4, 5), NAN)
    expected[:2, [0, 2]] = [1, 0]
    expected[2, :3] = [1, 2, 3]
    expected[3, 4] = 5
    np.testing.assert_array_equal(dense(read(tmp_path, TYPE).features), expected)


def test_several_labels(tmp_path) -> None:
    write(tmp_path / "a.rec", record([1.0], [1, 2]) + record([2.0], [3, 4]))
    assert read(tmp_path, TYPE).label.tolist() == [[1, 2], [3, 4]]


def other_name() -> bytes:
    message = make_record_type()()
    tensor(message.features["other"], [1.0])
    return frame(message.SerializeToString())


def bytes_as_features() -> bytes:
    message = make_record_type()()
    message.features["values"].bytes.value.append(b"png")
    return frame(message.SerializeToString())


GOOD = record([1.0, 2], [1])
INFINITE = "infinite or too large for a float32"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD * 3 + record([1.0], [1]), f"{WHERE} 4: 1 feature where the records before have 2"),
        (GOOD + record([1.0, 2], [1, 2]), f"{WHERE} 2: 2 labels where the records before have 1"),
        (GOOD + record([1.0, 2], None), f'{WHERE} 2: there is no "values" in the label'),
        (GOOD + record([1.0, 2], [NAN]), f"{WHERE} 2: the label is missing"),
        (
            GOOD + record([1.0, 2], []),
            f"{WHERE} 2: the label is missing",
        ),
        (GOOD + record([1.0, 2], [np.inf]), f"{WHERE} 2: a value of the label is {INFINITE}"),
        (GOOD + record([1.0, np.inf], [1]), f"{WHERE} 2: a value of the features is {INFINITE}"),
        (
            GOOD + record([1.0, 1e39], [1], kind="float64_tensor"),
            f"{WHERE} 2: a value of the features is {INFINITE}",
        ),
        (other_name(), f'{WHERE} 1: there is no "values" in the features'),
        (
            bytes_as_features(),
            f'{WHERE} 1: "values" of the features holds bytes; write a tensor',
        ),
        (
            record([1.0, 2], [1], keys=[1]),
            f"{WHERE} 1: 1 keys for 2 values; write one for each",
        ),
        (record([1.0, 2], [1], keys=[1, 1]), f"{WHERE} 1: key 1 is there twice"),
        (
            record([1.0], [1], keys=[7], shape=[7]),
            f"{WHERE} 1: key 7 is beyond the 7 features that the record has",
        ),
        (GOOD[:-1], f"{WHERE} 1 is cut off: the file ends before it does"),
        (GOOD * 5 + GOOD[:3], f"{WHERE} 6 is cut off: the file ends before it does"),
        (
            GOOD * 5 + b"x" * 40,
            f"{WHERE} 6 begins with 0x78787878, not with the magic number of RecordIO, 0xced7230a",
        ),
        (
            struct.pack("<II", 0xCED7230A, 4 | 1 << 29) + b"abcd",
            f"{WHERE} 1 is split in parts; write each record as one",
        ),
        (
            frame(b"\xff\xff"),
            f"{WHERE} 1 is not a protobuf message of the type aialgs.data.Record",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content: bytes, message: str) -> None:
    assert refused(tmp_path, content) == message


def test_files_that_differ(tmp_path) -> None:
    write(tmp_path / "train" / "0.rec", GOOD)
    assert refused(tmp_path, record([1.0], [1])) == (
        "train/a.rec: 1 feature where train/0.rec has 2"
    )
    assert refused(tmp_path, record([1.0, 2], [1, 2])) == (
        "train/a.rec: 2 labels where train/0.rec has 1"
    )


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.tuples(st.booleans(), NUMBERS, *[st.one_of(NUMBERS, st.just(NAN))] * 3)


@settings(max_examples=60)
@given(rows=st.lists(ROWS, min_size=1, max_size=20))
def test_any_table_is_read_back(tmp_path_factory, rows: list) -> None:
    path = tmp_path_factory.mktemp("channel")
    records = []
    for is_sparse, label, *features in rows:
        keys = [i for i, value in enumerate(features) if not np.isnan(value)]
        if is_sparse:
            records.append(record([features[i] for i in keys], [label], keys=keys, shape=[3]))
        else:
            records.append(record(features, [label]))
    write(path / "a.rec", b"".join(records))
    dataset = read(path, TYPE)
    features = dataset.features
    found = features if isinstance(features, np.ndarray) else dense(features)
    np.testing.assert_array_equal(found, np.array([row[2:] for row in rows], np.float32))
    assert dataset.label.tolist() == [np.float32(row[1]) for row in rows]


@settings(max_examples=200)
@given(place=st.integers(0, 200), removed=st.integers(0, 5), added=st.binary(max_size=4))
def test_damage_is_read_or_named(tmp_path_factory, place: int, removed: int, added: bytes) -> None:
    path = tmp_path_factory.mktemp("train")
    content = b"".join(record(row[1:], row[:1]) for row in table(10))
    write(path / "a.rec", content[:place] + added + content[place + removed :])
    try:
        dataset = read(path, TYPE)
    except UserError as error:
        message = str(error)
    else:
        message = "a.rec"
        assert np.isfinite(dataset.label).all()
    assert "a.rec" in message
