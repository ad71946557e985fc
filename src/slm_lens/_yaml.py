"""YAML files of other people: plain values, no entry twice, nothing that grows when it is read."""

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

_MAX_BYTES = 1 << 20
_LONGEST_NUMBER = 64
"""Characters. Written in base 60 or 16, YAML's numbers have no end, and no float holds them."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_WITH_TAGS = (yaml.ScalarEvent, yaml.CollectionStartEvent)


class OnceLoader(yaml.SafeLoader):
    """A safe loader that refuses a key that stands twice; YAML's own takes the last.

    It also refuses aliases, of which a few lines can stand for billions of values; tags, which
    turn texts into other things; and numbers that are too long to be any.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping of which each key stands once.

        Args:
            node: as in YAML's own loader.
            deep: as there.

        Returns:
            The mapping.

        Raises:
            ValueError: a key stands twice.
        """
        keys = [k.value for k, _ in node.value if isinstance(k, yaml.ScalarNode)]
        twice = sorted(k for k, n in Counter(keys).items() if n > 1)
        if twice:
            raise ValueError(
                f"{twice[:8]} stand twice in one place, line {node.start_mark.line + 1} on; "
                "expected each entry once"
            )
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node that is no alias, has no tag, and no number without end.

        Args:
            parent: as in YAML's own loader.
            index: as there.

        Returns:
            The node.

        Raises:
            ValueError: it is something else.
        """
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line} has an alias (*name); expected the values themselves")
        if isinstance(event, _WITH_TAGS) and event.tag not in (None, "!"):
            raise ValueError(f"line {line} has a tag (!name); expected plain values without one")
        node = super().compose_node(parent, index)
        if node is not None and node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise ValueError(
                f"line {line} has a number of {len(node.value)} characters; expected at most "
                f"{_LONGEST_NUMBER}"
            )
        return node


def read_yaml(path: Path) -> Any:
    """The values of a small YAML file.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        ValueError: it is too large, no YAML, or has an entry twice, an alias, a tag or a number
            that is too long.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"it has {path.stat().st_size} bytes; expected at most {_MAX_BYTES}")
    try:
        # A subclass of the safe loader, which makes plain values only.
        return yaml.load(path.read_text(encoding="utf-8"), Loader=OnceLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no YAML ({error})") from None
