"""YAML files of other people: plain values, no entry twice, nothing that grows when it is read."""

from pathlib import Path
from typing import Any

import yaml

_MAX_BYTES = 1 << 20


class OnceLoader(yaml.SafeLoader):
    """A safe loader that refuses a key that stands twice; YAML's own takes the last.

    It also refuses aliases, of which a few lines can stand for billions of values.
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
        twice = sorted({k for k in keys if keys.count(k) > 1})
        if twice:
            raise ValueError(
                f"{twice} stand twice in one place, line {node.start_mark.line + 1} on; expected "
                "each entry once"
            )
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node that is no alias.

        Args:
            parent: as in YAML's own loader.
            index: as there.

        Returns:
            The node.

        Raises:
            ValueError: it is an alias.
        """
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise ValueError(f"line {line} has an alias (*name); expected the values themselves")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """The values of a small YAML file.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        ValueError: it is too large, no YAML, or has an entry twice or an alias.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"it has {path.stat().st_size} bytes; expected at most {_MAX_BYTES}")
    try:
        # A subclass of the safe loader, which makes plain values only.
        return yaml.load(path.read_text(encoding="utf-8"), Loader=OnceLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no YAML ({error})") from None
