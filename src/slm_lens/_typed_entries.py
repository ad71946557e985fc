"""Plain values, as YAML has them, to configuration classes: nothing unknown, nothing converted."""

import difflib
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin


def typed_entries(kind: Any, entries: object, where: str, at: str = "") -> Any:
    """An instance of a configuration class.

    Args:
        kind: a dataclass whose fields are plain values, tuples or mappings of them, or such
            classes.
        entries: plain values by name.
        where: what messages begin with.
        at: path of the entries within the whole, empty for the whole.

    Returns:
        The instance.

    Raises:
        ValueError: an entry is unknown, absent, or of the wrong type.
    """
    if not isinstance(entries, dict):
        raise ValueError(f"{where}: {at or 'it'} holds {_shown(entries)}, expected entries.")
    known = {f.name: f for f in fields(kind)}
    unknown = [str(n)[:60] for n in entries if n not in known]
    needed = (MISSING, MISSING)
    lacking = [
        n for n, f in known.items() if (f.default, f.default_factory) == needed and n not in entries
    ]
    if unknown or lacking:
        near = [m for n in unknown[:8] for m in difflib.get_close_matches(n, known, 1)]
        raise ValueError(
            f"{where}: {at or 'the file'} has the unknown entries {unknown[:8]} and lacks "
            f"{lacking}, expected entries of {list(known)}."
            + (f" Is {near} meant?" if near else "")
        )
    values = {
        name: _fitting(value, known[name].type, where, f"{at}.{name}" if at else str(name))
        for name, value in entries.items()
    }
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _fitting(value: object, wanted: Any, where: str, place: str) -> Any:
    """A value of the wanted type; whole numbers do as fractions, lists as tuples.

    Raises:
        ValueError: it is of another type, or none of the values that the entry may have.
    """
    options = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    for option in options:
        if is_dataclass(option) and (value is not None or NoneType not in options):
            return typed_entries(option, value, where, place)
        if get_origin(option) is tuple and isinstance(value, list | tuple):
            inner = get_args(option)[0]
            return tuple(_fitting(v, inner, where, f"{place}[{i}]") for i, v in enumerate(value))
        if get_origin(option) is Mapping and isinstance(value, dict):
            of_key, of_value = get_args(option)
            return {
                _fitting(k, of_key, where, place): _fitting(v, of_value, where, f"{place}.{k}")
                for k, v in value.items()
            }
        if _is_plain(value, option):
            return float(value) if option is float else value  # type: ignore[arg-type]
    names = [_named(o) for o in options]
    raise ValueError(
        f"{where}: {place} is {_shown(value)}, expected {' or '.join(names)}. Quote a text that "
        "YAML takes for a number."
    )


def _is_plain(value: object, option: Any) -> bool:
    if get_origin(option) is Literal:
        return isinstance(value, str) and value in get_args(option)
    if get_origin(option) is not None:
        return False
    if option is float and isinstance(value, int) and abs(value) > sys.float_info.max:
        return False
    kinds = (int, float) if option is float else option
    return isinstance(value, kinds) and (option is bool or not isinstance(value, bool))


def _named(option: Any) -> str:
    if get_origin(option) is Literal:
        return f"one of {get_args(option)}"
    if get_origin(option) is tuple:
        return f"a list, each {_named(get_args(option)[0])}"
    if get_origin(option) is Mapping:
        return "entries"
    return "nothing" if option is NoneType else option.__name__


def _shown(value: object) -> str:
    return repr(value)[:80] if isinstance(value, str | float | bool) else type(value).__name__
