"""YAML in which no entry stands twice, for descriptions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slm_lens._yaml import read_yaml


def read_entries(path: Path) -> dict[str, Any]:
    """The entries of a YAML file, with those of its streams and chat.

    Raises:
        ValueError: the file, its streams or its chat are no entries, or one stands twice.
    """
    entries = read_yaml(path)
    named = {"the file": entries}
    if isinstance(entries, dict):
        named |= {key: entries[key] for key in ("streams", "chat") if key in entries}
    for key in named.keys() & {"streams", "chat"}:
        inner = named[key]
        named |= {f"{key}.{n}": v for n, v in inner.items()} if isinstance(inner, dict) else {}
    for where, value in named.items():
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} holds {value!r}, expected entries, as `name: value`")
    return {"streams": {}} | entries
