"""Structs in Thrift's compact protocol, which Parquet describes its pages and columns in."""

from __future__ import annotations

from typing import Any, Final

from mme_handler.errors import BadRequestError

I32: Final = 5
I64: Final = 6
LIST: Final = 9
STRUCT: Final = 12
_TRUE, _FALSE, _BYTE, _I16, _DOUBLE, _BINARY, _SET = 1, 2, 3, 4, 7, 8, 10
_BITS: Final = {_I16: 16, I32: 32, I64: 64}
_KEPT: Final = frozenset({I32, I64, LIST, STRUCT})

_MOST_STEPS: Final = 1_000_000
_MOST_LEVELS: Final = 16

Fields = dict[tuple[int, int], Any]
"""Values by the field's number and type, so that one of the wrong type counts as left out."""


class Thrift:
    """Reads structs in `view`, which holds bytes, up to a number of values in all."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._steps = 0

    def struct(self, position: int, level: int = 0) -> tuple[Fields, int]:
        """The fields of the struct at `position`, and where it ends.

        Only integers of 32 and 64 bits, structs, and lists of structs are kept.

        Raises:
            BadRequestError: there are too many values.
            ValueError, LookupError: it is not valid, or has a field twice.
        """
        if level > _MOST_LEVELS:
            raise ValueError("a header is nested too deeply")
        fields: Fields = {}
        number = 0
        while True:
            head = self._view[position]
            position += 1
            kind, delta = head & 15, head >> 4
            if not kind:
                return fields, position
            if delta:
                number += delta
            else:
                number, position = self._integer(position, 16)
            if (number, kind) in fields:  # which pyarrow would merge in a way of its own
                raise ValueError("a header has a field twice")
            if kind in (_TRUE, _FALSE):  # the type is the value
                self._step()
                continue
            value, position = self._value(kind, position, level)
            if kind in _KEPT:
                fields[number, kind] = value

    def _value(self, kind: int, position: int, level: int) -> tuple[Any, int]:
        """The value if it is one to keep, and where it ends."""
        self._step()
        if kind in _BITS:
            return self._integer(position, _BITS[kind])
        if kind == _BYTE:
            return None, position + 1
        if kind == _DOUBLE:
            return None, position + 8
        if kind == _BINARY:
            length, position = self._varint(position, 32)
            return None, position + length
        if kind in (LIST, _SET):
            return self._list(position, level)
        if kind == STRUCT:
            return self.struct(position, level + 1)
        raise ValueError("a header has a field of an unknown type")

    def _list(self, position: int, level: int) -> tuple[list[Fields], int]:
        """The structs of the list, if it is one of structs, and where it ends."""
        head = self._view[position]
        position += 1
        count, kind = head >> 4, head & 15
        if count == 15:
            count, position = self._varint(position, 32)
        if kind in (_TRUE, _FALSE):  # in a list, a byte of its own
            kind = _BYTE
        structs = []
        for _ in range(count):
            value, position = self._value(kind, position, level + 1)
            if kind == STRUCT:
                structs.append(value)
        return structs, position

    def _integer(self, position: int, bits: int) -> tuple[int, int]:
        value, position = self._varint(position, bits)
        return (value >> 1) ^ -(value & 1), position

    def _varint(self, position: int, bits: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._view[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            if shift >= bits:
                raise ValueError("a header has too long a number")
        if value >> bits:
            raise ValueError("a header has too large a number")
        return value, position

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise BadRequestError(
                "the Parquet file has too many columns, row groups or pages; send fewer, larger "
                "ones"
            )
