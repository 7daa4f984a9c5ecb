"""What the tests of several codecs check alike, and tables as Arrow and Parquet bodies."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mme_handler.codecs import Schema
from mme_handler.errors import BadRequestError

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/x-parquet"

Decode = Callable[[bytes, Schema], np.ndarray]


def check_matrix_or_bad_request(decode: Decode, body: bytes, features: int) -> None:
    """A body is refused as a bad request, or is a finite matrix that fits the model."""
    try:
        matrix = decode(body, Schema(features))
    except BadRequestError:
        return
    assert matrix.dtype == np.float32
    assert matrix.ndim == 2
    assert len(matrix) > 0
    assert matrix.shape[1] == features
    assert matrix.flags.c_contiguous
    assert not np.isinf(matrix).any()


def check_refused_quickly(decode: Decode, body: bytes, within: float = 1) -> None:
    """A hostile body is refused in a short message, within so many seconds of CPU time."""
    started = time.process_time()
    with pytest.raises(BadRequestError) as caught:
        decode(body, Schema(6))
    assert len(str(caught.value)) < 300
    assert time.process_time() - started < within


def arrow_stream(table: pa.Table, **options) -> bytes:
    """The table as a body in Arrow's stream format."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(use_threads=False, **options)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def parquet(table: pa.Table, **options) -> bytes:
    """The table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()
