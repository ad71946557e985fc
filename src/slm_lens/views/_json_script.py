"""Data as JSON inside a script element: nothing in it can end the element, arrays stay small."""

import base64
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

ARRAY_KEY = "$array"
"""Marks an array: base64 of its little-endian numbers, with dtype and shape."""

# What JavaScript has typed arrays for; its 64-bit integers are no numbers.
_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
# Parsers of HTML end scripts at "</script" whatever the quotes; old ones of JavaScript end lines at
# the two separators.
_ESCAPES = {
    "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029",
}  # fmt: skip


def json_for_script(value: Any) -> str:
    """A value as JSON that may stand in a script element.

    Args:
        value: numbers, strings, None, sequences and mappings with string keys, numpy arrays and
            numbers. Numbers that are not finite become null; those in arrays stay.

    Returns:
        The JSON.

    Raises:
        TypeError: something else is in it, or an array of a dtype that browsers lack.
    """  # noqa: DOC502 (raised by _plain)
    text = json.dumps(_plain(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    # A lone surrogate is in no encoding; the rest needs no escape.
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str)]
        if odd:
            raise TypeError(f"View: got data with the keys {odd[:4]}, expected strings.")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    raise TypeError(
        f"View: got data of {type(value).__name__}, expected numbers, strings, lists, mappings and "
        "numpy arrays. Write tensor.numpy() for a tensor."
    )


def _array(array: np.ndarray) -> dict[str, Any]:
    name = array.dtype.name
    if name not in _DTYPES:
        raise TypeError(
            f"View: got an array of {name}, expected one of {_DTYPES}. Write array.astype(...)."
        )
    data = np.ascontiguousarray(array)
    if sys.byteorder == "big":
        data = data.byteswap()
    coded = base64.b64encode(data.tobytes()).decode("ascii")
    return {ARRAY_KEY: coded, "dtype": name, "shape": list(array.shape)}
