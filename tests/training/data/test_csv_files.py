from __future__ import annotations

import gzip
import io

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mme_training.data import csv_exact, csv_files, lines
from mme_training.data.channel import read_channel
from mme_training.errors import UserError
from support.training_data import csv, model_bytes, read, table, write

GOOD = "1,2,3\n4,5,6\n7,8,9\n"


def expected(text: str | bytes, delimiter: str = ",") -> np.ndarray:
    source = io.BytesIO(text.encode() if isinstance(text, str) else text)
    frame = pd.read_csv(source, header=None, sep=delimiter)
    return frame.to_numpy(np.float64)


def check(dataset, values: np.ndarray) -> None:
    values = values.astype(np.float32)
    np.testing.assert_array_equal(dataset.label, values[:, 0])
    np.testing.assert_array_equal(dataset.features, values[:, 1:])
    assert dataset.features.dtype == dataset.label.dtype == np.float32
    assert dataset.features.flags.c_contiguous
    assert dataset.qid is None


def refused(path, content: str | bytes, content_type: str = "csv", **options) -> str:
    write(path / "train" / "part-0.csv", content)
    with pytest.raises(UserError) as caught:
        read_channel(path / "train", content_type, **options)
    return str(caught.value)


def test_rows_are_those_of_pandas_and_so_is_the_model(tmp_path) -> None:
    text = csv(table())
    write(tmp_path / "train" / "part.csv", text)
    dataset = read(tmp_path / "train", "text/csv")
    values = expected(text)
    check(dataset, values)
    reference = xgb.DMatrix(values[:, 1:], label=values[:, 0])
    assert model_bytes(dataset.matrix(1)) == model_bytes(reference)


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_delimiter_is_found(tmp_path, delimiter: str, end: str) -> None:
    text = csv(table(), delimiter, end)
    write(tmp_path / "train" / "part.csv", text)
    check(read(tmp_path / "train", "text/csv"), expected(text, delimiter))


def test_each_file_has_its_own_delimiter(tmp_path) -> None:
    write(tmp_path / "train" / "a.csv", "1,2,3\n")
    write(tmp_path / "train" / "b.csv", "4;5;6\n")
    assert read(tmp_path / "train", "csv").features.tolist() == [[2, 3], [5, 6]]


@pytest.mark.parametrize(
    "cell", ["", " ", "nan", "NaN", "NAN", "NA", "na", "null", "NULL", " nan", '""', '"NA"', "-nan"]
)
def test_missing_values(tmp_path, cell: str) -> None:
    write(tmp_path / "a.csv", f"1,{cell},3\n0,4,{cell}\n")
    nan = np.nan
    np.testing.assert_array_equal(read(tmp_path, "csv").features, [[nan, 3], [4, nan]])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("\ufeff1,2,3\n4,5,6\n", [[2, 3], [5, 6]]),
        ("\n1,2,3\n\n\n4,5,6\n\n\n", [[2, 3], [5, 6]]),
        ("1,2,3\r\n\r\n4,5,6", [[2, 3], [5, 6]]),
        ("1,2,3\n4,5,6\r", [[2, 3], [5, 6]]),
        ("1,2,3\n  \n4,5,6\n\t\n", [[2, 3], [5, 6]]),
        ('"1","2","3"\n4,"5",6\n', [[2, 3], [5, 6]]),
        ('"1";" 2";"3"\n4;5;6\n', [[2, 3], [5, 6]]),
        ("+1,+2,+3e0\n4,.5,6.\n", [[2, 3], [0.5, 6]]),
        ("1, 2, 3\n4 ,5 ,6\n", [[2, 3], [5, 6]]),
        ("\t\n1,2,3\n4,5,6\n", [[2, 3], [5, 6]]),
        ("1,2,\n4,5,\n", [[2, np.nan], [5, np.nan]]),
        ("1,2\n4,5", [[2], [5]]),
    ],
)
def test_odd_but_right(tmp_path, text: str, rows: list) -> None:
    write(tmp_path / "a.csv", text)
    dataset = read(tmp_path, "csv")
    np.testing.assert_array_equal(dataset.features, np.array(rows, np.float32))
    assert dataset.label.tolist() == [1, 4]


def test_numbers_are_rounded_from_float64(tmp_path) -> None:
    # 1 + 2**-24 is half way between two float32, the digits after it too few for a float64.
    number = "1.00000005960464477539062500000000000001"
    write(tmp_path / "a.csv", f"1,{number}\n0,1\n")
    assert read(tmp_path, "csv").features[0, 0] == np.float32(float(number)) == 1


def test_weights(tmp_path) -> None:
    write(tmp_path / "a.csv", "1,0.5,3\n4,0,6\n")
    dataset = read(tmp_path, "csv", csv_weights=True)
    assert dataset.weight.tolist() == [0.5, 0]
    assert dataset.features.tolist() == [[3], [6]]
    assert read(tmp_path, "csv").weight is None


def test_several_labels(tmp_path) -> None:
    write(tmp_path / "a.csv", "1,2,0.5,3\n4,5,1,6\n")
    dataset = read(tmp_path, "text/csv; label_size=2", csv_weights=True)
    assert dataset.label.tolist() == [[1, 2], [4, 5]]
    assert dataset.weight.tolist() == [0.5, 1]
    assert dataset.features.tolist() == [[3], [6]]


def test_gzip_whatever_the_name(tmp_path) -> None:
    write(tmp_path / "a.csv", gzip.compress(b"1,2\n"))
    write(tmp_path / "b.csv.gz", gzip.compress(b"3,4\n"))
    assert read(tmp_path, "csv").features.tolist() == [[2], [4]]


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "latin-1", "us-ascii"])
def test_charset(tmp_path, charset: str) -> None:
    write(tmp_path / "a.csv", GOOD.encode(charset))
    dataset = read(tmp_path, f"text/csv; charset={charset}")
    assert dataset.features.tolist() == [[2, 3], [5, 6], [8, 9]]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_blocks_make_no_difference(tmp_path, monkeypatch, size: int) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", size)
    text = csv(table(50)).replace("\n", "\n\n", 3)
    write(tmp_path / "a.csv", text)
    write(tmp_path / "b.csv", text.encode("utf-16"))
    write(tmp_path / "c.csv", gzip.compress(text.encode()))
    (tmp_path / "b.csv").rename(tmp_path.parent / "utf16.csv")
    check(read(tmp_path, "csv"), np.concatenate([expected(text)] * 2))
    check(read(tmp_path.parent / "utf16.csv", "csv; charset=utf-16"), expected(text))
    (tmp_path.parent / "utf16.csv").unlink()


PLACE = "train/part-0.csv, line"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "1,2\n", f"{PLACE} 4: 2 columns where line 1 has 3"),
        ("\n" + GOOD + "\n1,2,3,4\n", f"{PLACE} 6: 4 columns where line 2 has 3"),
        (GOOD + "1\n", f"{PLACE} 4: 1 column where line 1 has 3"),
        (GOOD + "1,2,abc\n", f"{PLACE} 4, column 3: 'abc' is not a number"),
        (GOOD + "1,1_0,2\n", f"{PLACE} 4, column 2: '1_0' is not a number"),
        (GOOD + "1,0x1,2\n", f"{PLACE} 4, column 2: '0x1' is not a number"),
        (GOOD + "1,\u0661,2\n", f"{PLACE} 4, column 2: '\u0661' is not a number"),
        (
            "PRICE,YEAR_BUILT,LOT_SIZE,N\n1,2,3,4\n",
            f"{PLACE} 1 looks like a header (PRICE, YEAR_BUILT, LOT_SIZE, ...): SageMaker's CSV "
            "has none; remove it",
        ),
        (
            '"Sale price";"Lot (a, b)"\n1;2\n',
            f"{PLACE} 1 looks like a header (Sale price, Lot (a, b)): SageMaker's CSV has none; "
            "remove it",
        ),
        (GOOD + ",2,3\n", f"{PLACE} 4: the label (column 1) is empty"),
        (GOOD + "nan,2,3\n", f"{PLACE} 4: the label (column 1) is missing"),
        (
            GOOD + "inf,2,3\n",
            f"{PLACE} 4: the label (column 1) is infinite or too large for a float32: 'inf'",
        ),
        (
            GOOD + "1,2,-Infinity\n",
            f"{PLACE} 4: column 3 is infinite or too large for a float32: '-Infinity'",
        ),
        (
            GOOD + "1,2,1e39\n",
            f"{PLACE} 4: column 3 is infinite or too large for a float32: '1e39'",
        ),
        (
            ",1,2\n,3,4\n",
            "train/part-0.csv: the label (column 1) is missing in every line from 1 to 2; the "
            "label is the first column of SageMaker's CSV",
        ),
        (GOOD + "1,2\0,3\n", f"{PLACE} 4: there is a NUL byte; the file is damaged"),
        (
            GOOD + "1,2,3\r4,5,6\n",
            f"{PLACE} 4: there is a carriage return within the line; end lines with LF or CR LF",
        ),
        (
            GOOD + '1,"2,3\n4,5,6\n',
            f"{PLACE} 4, column 2: there is a quote that is not closed in the cell '\"2'; cells "
            "are plain numbers",
        ),
        (
            GOOD + '1,"2,3",4\n',
            f"{PLACE} 4, column 2: there is a quote that is not closed in the cell '\"2'; cells "
            "are plain numbers",
        ),
        (GOOD + '1,""2"",3\n', f"{PLACE} 4, column 2: '\"2\"' is not a number"),
        (GOOD.encode() + b"1,\xff2,3\n", f"{PLACE} 4: byte 3 (0xff) is not valid UTF-8"),
        (
            "5\n6\n",
            f"{PLACE} 1: 1 column; a row of CSV is a label and features, with a comma, tab, "
            "semicolon, pipe or space between them",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text: str | bytes, message: str) -> None:
    assert refused(tmp_path, text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,-1,3\n", f"{PLACE} 1: the weight (column 2) is negative: '-1'"),
        ("1,1,3\n1,,3\n", f"{PLACE} 2: the weight (column 2) is empty"),
        ("1,1,3\n1,NaN,3\n", f"{PLACE} 2: the weight (column 2) is missing"),
        (
            "1,inf,3\n",
            f"{PLACE} 1: the weight (column 2) is infinite or too large for a float32: 'inf'",
        ),
        (
            "1,2\n",
            f"{PLACE} 1: 2 columns; a row of CSV is a label, a weight and features, with a comma, "
            "tab, semicolon, pipe or space between them",
        ),
    ],
)
def test_wrong_weights(tmp_path, text: str, message: str) -> None:
    assert refused(tmp_path, text, csv_weights=True) == message


def test_weights_of_nothing_but_zero(tmp_path) -> None:
    message = refused(tmp_path, "1,0,3\n0,0,4\n", csv_weights=True)
    assert message == (
        f"the channel {tmp_path / 'train'} has only weights of 0: nothing could be learned"
    )


def test_the_second_label(tmp_path) -> None:
    message = refused(tmp_path, "1,1,3\n1,,3\n", "csv; label_size=2")
    assert message == f"{PLACE} 2: the label (column 2) is empty"


def test_files_with_different_columns(tmp_path) -> None:
    write(tmp_path / "train" / "a" / "part.csv", "1,2,3\n")
    message = refused(tmp_path, "\n1,2,3,4\n")
    assert message == "train/part-0.csv, line 2: 4 columns where train/a/part.csv has 3"


def test_a_damaged_gzip(tmp_path) -> None:
    message = refused(tmp_path, gzip.compress(GOOD.encode())[:-9])
    assert message.startswith("train/part-0.csv cannot be read: ")


def test_the_charset_is_wrong(tmp_path) -> None:
    message = refused(tmp_path, b"1,\xff\n", "csv; charset=shift-jis")
    assert message.startswith("train/part-0.csv is not in the charset shift_jis: ")


def test_lines_are_counted_over_blocks(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 100)
    message = refused(tmp_path, GOOD * 1000 + "1,x,3\n" + GOOD * 1000)
    assert message == f"{PLACE} 3001, column 2: 'x' is not a number"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("1,2,\n3,4,\n", "the last column of train/a.csv is empty in every line"),
        ("0,1,2\n3,4,5\n", "train/a.csv, line 1 is 0, 1, 2 and so on: if it is a header"),
    ],
)
def test_what_is_likely_wrong_is_logged(tmp_path, caplog, text: str, warning: str) -> None:
    write(tmp_path / "train" / "a.csv", text)
    read(tmp_path / "train", "csv")
    assert warning in caplog.text


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
CELLS = st.one_of(NUMBERS, st.just(float("nan")), st.integers(-(10**9), 10**9).map(float))


@st.composite
def tables(draw) -> np.ndarray:
    columns = draw(st.integers(2, 5))
    row = st.tuples(NUMBERS, *[CELLS] * (columns - 1))
    return np.array(draw(st.lists(row, min_size=1, max_size=20)))


@settings(max_examples=60)
@given(values=tables(), delimiter=st.sampled_from(",\t;|"), end=st.sampled_from(["\n", "\r\n"]))
def test_any_table_is_read_back(tmp_path_factory, values, delimiter: str, end: str) -> None:
    path = tmp_path_factory.mktemp("channel")
    write(path / "a.csv", csv(values, delimiter, end))
    check(read(path, "csv"), values)


@settings(max_examples=200)
@given(
    place=st.integers(0, 200),
    removed=st.integers(0, 5),
    added=st.one_of(
        st.binary(max_size=4),
        st.text(',;\t\n\r "0123456789.eE+-nailNAf#:|', max_size=6).map(str.encode),
    ),
)
@example(place=0, removed=0, added=b"PAR1")
@example(place=0, removed=0, added=b'"')
def test_damage_is_read_alike_both_ways(tmp_path_factory, place, removed, added) -> None:
    path = tmp_path_factory.mktemp("train")
    content = csv(table(10)).encode()
    write(path / "part.csv", content[:place] + added + content[place + removed :])
    found = []
    for fast in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not fast:
                patch.setattr(csv_files, "_fast", lambda *_: None)
            try:
                dataset = read(path, "csv")
            except UserError as error:
                found.append(str(error))
            else:
                found.append((dataset.features.tobytes(), dataset.label.tobytes()))
                assert np.isfinite(dataset.label).all()
                assert not np.isinf(dataset.features).any()
    assert found[0] == found[1]
    assert isinstance(found[0], tuple) or "part.csv" in found[0]


def test_plain_rows_take_the_fast_way(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(csv_exact, "read", None)
    text = csv(table()).replace("\n", "\n\n", 9).replace(",,", ",NA,")
    write(tmp_path / "a.csv", "\n" + text)
    check(read(tmp_path, "csv"), expected(text))
