"""YAML in which no entry stands twice, for descriptions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class _OnceLoader(yaml.SafeLoader):
    """A safe loader that refuses a key that stands twice; YAML's own takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [k.value for k, _ in node.value if isinstance(k, yaml.ScalarNode)]
        twice = sorted({k for k in keys if keys.count(k) > 1})
        if twice:
            raise ValueError(
                f"{twice} stand twice in one place, line {node.start_mark.line + 1} on; expected "
                "each entry once"
            )
        return super().construct_mapping(node, deep)


def read_entries(path: Path) -> dict[str, Any]:
    """The entries of a YAML file, with those of its streams and chat.

    Raises:
        ValueError: the file, its streams or its chat are no entries, or one stands twice.
    """
    # A subclass of the safe loader, which makes plain values only.
    entries = yaml.load(path.read_text(encoding="utf-8"), Loader=_OnceLoader)
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
