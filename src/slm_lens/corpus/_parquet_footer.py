"""What the footer of a Parquet file states of its row groups, read by itself.

Of a column chunk with damaged statistics pyarrow's own metadata end the process: they raise where
nothing can catch it. These few numbers are wanted before any column is read, so the footer, which
is in Thrift's compact form, is read here: three kinds of numbers, texts, lists and structs.

Source: Apache Parquet, ``parquet.thrift`` (field numbers); Apache Thrift, "Thrift compact
protocol encoding".
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

_DEEPEST = 32
"""Structs in structs: Parquet's have six."""

_Struct = dict[int, Any]
_T = TypeVar("_T")


@dataclass(frozen=True)
class StatedChunk:
    """What is stated of a column of one row group.

    Attributes:
        path: its name, with those of the columns that it lies in.
        n_values: entries of lists count one by one.
        n_bytes: before compression.
    """

    path: str
    n_values: int
    n_bytes: int


@dataclass(frozen=True)
class StatedGroup:
    """What is stated of one row group.

    Attributes:
        n_rows: its rows.
        chunks: its columns.
    """

    n_rows: int
    chunks: tuple[StatedChunk, ...]


def stated_groups(given: Path | bytes) -> tuple[int, tuple[StatedGroup, ...]]:
    """Rows of a file, and its row groups, as the footer states them.

    Args:
        given: a Parquet file, or its content.

    Returns:
        The number of rows, and the row groups.

    Raises:
        ValueError: the footer is cut off or lacks a field.
    """
    with io.BytesIO(given) if isinstance(given, bytes) else given.open("rb") as file:
        n_bytes = file.seek(0, 2)
        file.seek(max(0, n_bytes - 8))
        size = int.from_bytes(file.read(4), "little")
        file.seek(max(0, n_bytes - 8 - size))
        footer = file.read(size)
    try:
        about = _Thrift(footer).struct(0)
    except IndexError:
        raise ValueError("its footer is cut off") from None
    groups = []
    for group in _field(about, 4, list):
        chunks = tuple(_chunk(_field(column, 3, dict)) for column in _field(group, 1, list))
        groups.append(StatedGroup(_field(group, 3, int), chunks))
    return _field(about, 3, int), tuple(groups)


def _chunk(about: _Struct) -> StatedChunk:
    parts = _field(about, 3, list)
    if not all(isinstance(part, bytes) for part in parts):
        raise ValueError("its footer has a column whose name is no text")
    path = b".".join(parts).decode("utf-8")
    return StatedChunk(path, _field(about, 5, int), _field(about, 6, int))


def _field(about: object, number: int, kind: type[_T]) -> _T:
    value = about.get(number) if isinstance(about, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"its footer lacks what Parquet's has, field {number}")
    return value


class _Thrift:
    """Values in Thrift's compact form, from the first byte on."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def struct(self, depth: int) -> _Struct:
        """Values by the numbers of their fields; raises IndexError where the bytes end."""
        if depth > _DEEPEST:
            raise ValueError(f"its footer has more than {_DEEPEST} structs in structs")
        fields: _Struct = {}
        number = 0
        while (head := self._byte()) != 0:
            step, kind = head >> 4, head & 15
            number = number + step if step else self._whole()
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):  # in a list a bool takes a byte
            return self._byte()
        if kind in (4, 5, 6):
            return self._whole()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._varint())
        if kind in (9, 10):
            head = self._byte()
            n = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15, depth + 1) for _ in range(n)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"its footer has a value of kind {kind}")

    def _byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _bytes(self, n: int) -> bytes:
        found = self._content[self._at : self._at + n]
        if len(found) < n:
            raise IndexError
        self._at += n
        return found

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("its footer has a number of more than 64 bits")

    def _whole(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
