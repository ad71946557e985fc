"""JSON files of other people."""

import json
from pathlib import Path
from typing import Any


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file of a checkpoint that has to hold an object.

    Args:
        path: the file.

    Returns:
        The object.

    Raises:
        ValueError: the file is not JSON, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"load: {path} is not JSON ({error}), expected a JSON object. Was the download cut "
            "short?"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"load: {path} holds a {type(content).__name__}, expected a JSON object. Is it "
            "another file under this name?"
        )
    return content
