"""Files that are there in full, or not at all."""

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there when it is complete.

    An interruption (Ctrl-C included) leaves the earlier file, or none.

    Args:
        path: where the file shall be; its folder is made if needed.
        write: writes the whole file to the path that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays: numpy, for one, would append its own to any other.
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        write(part)
        os.replace(part, path)  # noqa: PTH105 (Path.replace is the same call; os.replace says atomic)
    finally:
        part.unlink(missing_ok=True)
