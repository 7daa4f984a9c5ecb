from __future__ import annotations

import codecs
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mme_training.data.channel import read_channel
from mme_training.data.content_type import ContentType, Format, parse
from mme_training.errors import UserError
from support.training_data import record, write


@pytest.mark.parametrize(
    ("given", "format_"),
    [
        (None, Format.LIBSVM),
        ("", Format.LIBSVM),
        ("libsvm", Format.LIBSVM),
        ("text/libsvm ;charset=utf8", Format.LIBSVM),
        ("text/x-libsvm", Format.LIBSVM),
        ("csv", Format.CSV),
        ("Text/CSV; label_size=1", Format.CSV),
        ("parquet", Format.PARQUET),
        ("application/x-parquet", Format.PARQUET),
        ("recordio-protobuf", Format.RECORDIO),
        ("application/x-recordio-protobuf", Format.RECORDIO),
        ("application/vnd.apache.arrow.file", Format.ARROW_FILE),
        ("application/vnd.apache.arrow.stream", Format.ARROW_STREAM),
    ],
)
def test_content_types(given: str | None, format_: Format) -> None:
    found = parse(given)
    assert (found.format, found.label_size, found.charset) == (format_, 1, "utf-8")


def test_parameters() -> None:
    given = 'text/csv; Label_Size="3" ;charset=ISO-8859-1; header=absent'
    assert parse(given) == ContentType(Format.CSV, 3, "iso8859-1", given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "application/json",
            "'application/json' is not a content type that is read; those are: "
            "application/vnd.apache.arrow.file, application/vnd.apache.arrow.stream, "
            "application/x-libsvm, application/x-parquet, application/x-recordio-protobuf, csv, "
            "libsvm, parquet, recordio-protobuf, text/csv, text/libsvm, text/x-libsvm",
        ),
        ("csv;label_size=0", "'csv;label_size=0': label_size must be a whole number of at least 1"),
        ("csv;label_size=x", "'csv;label_size=x': label_size must be a whole number of at least 1"),
        ("libsvm;label_size=2", "'libsvm;label_size=2': text/libsvm takes no label_size"),
        ("csv;charset=utf-99", "'csv;charset=utf-99': 'utf-99' is not a known charset"),
    ],
)
def test_what_is_no_content_type(given: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(given)
    assert str(caught.value) == message


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"y": [1.0], "x": [2.0]}), sink)
    return sink.getvalue().to_pybytes()


def arrow(new) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"y": [1.0], "x": [2.0]})
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


CSV = b"1,0.5,3\n4,5,6\n"
LIBSVM = b"1 0:5 3:1\n"
FILES = {
    Format.CSV: CSV,
    Format.LIBSVM: LIBSVM,
    Format.PARQUET: parquet(),
    Format.ARROW_FILE: arrow(pa.ipc.new_file),
    Format.ARROW_STREAM: arrow(pa.ipc.new_stream),
    Format.RECORDIO: record([1.0], [1]),
}
SHOWN = {
    Format.LIBSVM: "libsvm",
    Format.CSV: "CSV",
    Format.PARQUET: "a Parquet file",
    Format.RECORDIO: "recordio-protobuf",
    Format.ARROW_FILE: "an Arrow file",
    Format.ARROW_STREAM: "an Arrow stream",
}


def refused(path, content: bytes, content_type: str | None) -> str:
    write(path / "train" / "part-0", content)
    with pytest.raises(UserError) as caught:
        read_channel(path / "train", content_type)
    return str(caught.value)


@pytest.mark.parametrize("given", list(Format))
@pytest.mark.parametrize("found", list(Format))
def test_the_content_type_of_another_format(tmp_path, given: Format, found: Format) -> None:
    if given is found:
        write(tmp_path / "a", FILES[found])
        assert read_channel(tmp_path, given.value) is not None
        return
    assert refused(tmp_path, FILES[found], given.value) == (
        f"train/part-0 looks like {SHOWN[found]}, but its channel's content type is "
        f"{given.value!r}; set the channel's ContentType to {found.value}"
    )


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (CSV, "text/csv"),
        (b"PRICE,YEAR\n1,2\n", "text/csv"),
        (b'\n"PRICE";"YEAR"\n', "text/csv"),
        (b"1 2 3\n", "text/csv"),
        (b"1\t2\n", "text/csv"),
        (b"1;2", "text/csv"),
        (parquet(), "application/x-parquet"),
        (record([1.0], [1]), "application/x-recordio-protobuf"),
    ],
)
def test_no_content_type_where_it_is_needed(tmp_path, content: bytes, content_type: str) -> None:
    message = refused(tmp_path, content, None)
    assert message.endswith(
        ", but its channel has no content type, which means libsvm; set the channel's ContentType "
        f"to {content_type}"
    )


@pytest.mark.parametrize("content_type", [None, "csv", "parquet"])
def test_a_workbook(tmp_path, content_type: str | None) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    content = (tmp_path / "a.xlsx").read_bytes()
    assert refused(tmp_path, content, content_type) == (
        "train/part-0 is a zip archive or an Excel workbook; save it as CSV or Parquet"
    )


def test_utf16(tmp_path) -> None:
    content = codecs.BOM_UTF16_LE + "1,2\n".encode("utf-16-le")
    assert refused(tmp_path, content, "csv") == (
        "train/part-0 is UTF-16; save it as UTF-8, or set the content type to text/csv; "
        "charset=utf-16"
    )
    dataset = read_channel(tmp_path / "train", "csv; charset=utf-16")
    assert dataset is not None
    assert dataset.features.tolist() == [[2]]
