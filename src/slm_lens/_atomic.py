"""Files that are there in full, or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without error.

    An interruption (Ctrl-C included) leaves the earlier file, or none.

    Args:
        path: where the file shall be; its folder is made if needed.

    Yields:
        A path with the same ending, for the block to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there when it is complete.

    Args:
        path: as for `written_atomically`.
        write: writes the whole file to the path that it is given.
    """
    with written_atomically(path) as part:
        write(part)


@contextmanager
def folder_written_atomically(path: Path) -> Iterator[Path]:
    """A new folder beside ``path`` that takes its place when the block ends without error.

    An interruption (Ctrl-C included) leaves nothing.

    Args:
        path: where the folder shall be; nothing is there, or an empty folder.

    Yields:
        A folder for the block to write into.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        if path.is_dir():
            path.rmdir()
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
