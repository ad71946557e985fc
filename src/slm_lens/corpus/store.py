"""Where a run is written: a folder of this machine, or what an fsspec URL names.

Both hold files that are there in full or not at all, and say in our words that a disk is full.
``s3://bucket/run``, ``gs://``, ``abfs://``, ``sftp://``, ``memory://`` ... need the package that
fsspec names for them; a folder needs none.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import polars as pl

from slm_lens.errors import RunError

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_MOVED_INTO_PLACE = {"file", "sftp", "ssh", "smb", "ftp", "hdfs", "webhdfs", "arrow_hdfs"}
"""Systems with folders, where a file appears while it is written. Objects appear when whole."""


@runtime_checkable
class Store(Protocol):
    """Files by name, such as ``words/000000.parquet``.

    Attributes:
        url: where it is.
        filesystem: fsspec's; None of a folder.
    """

    url: str
    filesystem: Any

    def names(self, folder: str = "") -> list[str]:
        """Names of what is in a folder, sorted; none if there is no folder."""
        ...

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        ...

    def read(self, name: str) -> bytes:
        """A whole file; FileNotFoundError if it is not there."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Put a file in its place, in full or not at all; RunError if the disk is full."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """The same, unless it is there already: then False."""
        ...

    def append(self, name: str, line: bytes) -> None:
        """Add a line to a file that this process alone writes."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def scan(self, names: list[str]) -> pl.LazyFrame:
        """Parquet files of one schema as one lazy table."""
        ...

    def location(self, name: str) -> str:
        """Path or URL of a file, for other programs."""
        ...


def open_store(url: str | Path) -> Store:
    """The store of a run.

    Args:
        url: a folder, or a URL that fsspec knows; ``file://`` names a folder.

    Returns:
        The store; nothing is made or contacted yet.

    Raises:
        ValueError: no such protocol.
        ImportError: the package for it is not installed; the message names it.
    """  # noqa: DOC502 (raised by RemoteStore)
    protocol, separator, rest = str(url).partition("://")
    if not separator:
        return LocalStore(Path(url))
    return LocalStore(Path(rest)) if protocol in ("file", "local") else RemoteStore(str(url))


class LocalStore:
    """A folder of this machine, or one that is mounted.

    Args:
        path: the folder; made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, str(path)
        self.filesystem = None

    def names(self, folder: str = "") -> list[str]:
        """Names in a folder.

        Args:
            folder: which; the top one if empty.

        Returns:
            They, sorted.
        """
        top = self.path / folder
        return sorted(p.name for p in top.iterdir()) if top.is_dir() else []

    def exists(self, name: str) -> bool:
        """Whether a file is there.

        Args:
            name: which.

        Returns:
            True or False.
        """
        return (self.path / name).exists()

    def read(self, name: str) -> bytes:
        """A whole file.

        Args:
            name: which.

        Returns:
            Its content.
        """
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Put a file in its place when it is on the disk.

        Args:
            name: which.
            content: all of it.
        """
        with self._written(name, content) as part:
            part.replace(self.path / name)

    def create(self, name: str, content: bytes) -> bool:
        """The same, unless it is there.

        Args:
            name: which.
            content: all of it.

        Returns:
            False if it is there.
        """
        with self._written(name, content) as part:
            try:
                os.link(part, self.path / name)
            except FileExistsError:
                return False
        return True

    def append(self, name: str, line: bytes) -> None:
        """Add a line.

        Args:
            name: which file.
            line: with its end.
        """
        path = self.path / name
        with full_disk_told(str(path)), path.open("ab", buffering=0) as file:
            file.write(line)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Args:
            name: which.
        """
        (self.path / name).unlink(missing_ok=True)

    def scan(self, names: list[str]) -> pl.LazyFrame:
        """Files as one lazy table.

        Args:
            names: which, at least one.

        Returns:
            The table.
        """
        return pl.scan_parquet([self.path / name for name in names])

    def location(self, name: str) -> str:
        """Path of a file.

        Args:
            name: which.

        Returns:
            The path.
        """
        return str(self.path / name)

    @contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[Path]:
        path = self.path / name
        part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        _make_folder(path.parent)
        try:
            with full_disk_told(str(path)):
                _remove_left_over(path)
                with part.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                yield part
                _sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


class RemoteStore:
    """What an fsspec URL names.

    Args:
        url: such as ``s3://bucket/run``.

    Raises:
        ValueError: no such protocol.
        ImportError: the package for it is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        protocol = url.partition("://")[0]
        try:
            self.filesystem, self._top = fsspec.core.url_to_fs(self.url)
        except ValueError as error:
            raise ValueError(
                f"open_store: got {url!r} ({error}), expected a folder, or a URL that fsspec "
                f"knows: {sorted(fsspec.available_protocols())}."
            ) from None
        except ImportError as error:
            raise ImportError(f"open_store: {url!r} needs another package: {error}") from error
        self._moves = protocol in _MOVED_INTO_PLACE
        self._appended: dict[str, bytes] = {}

    def names(self, folder: str = "") -> list[str]:
        """Names in a folder.

        Args:
            folder: which; the top one if empty.

        Returns:
            They, sorted.
        """
        top = f"{self._top}/{folder}".rstrip("/")
        self.filesystem.invalidate_cache()
        try:
            found = self.filesystem.ls(top, detail=False)
        except FileNotFoundError:
            return []
        names = {str(path).rstrip("/").rpartition("/")[2] for path in found}
        return sorted(names - {""})

    def exists(self, name: str) -> bool:
        """Whether a file is there.

        Args:
            name: which.

        Returns:
            True or False.
        """
        self.filesystem.invalidate_cache()
        return self.filesystem.exists(self._path(name))

    def read(self, name: str) -> bytes:
        """A whole file.

        Args:
            name: which.

        Returns:
            Its content.
        """
        return self.filesystem.cat_file(self._path(name))

    def write(self, name: str, content: bytes) -> None:
        """Put a file in its place.

        Args:
            name: which.
            content: all of it.
        """
        path = self._path(name)
        with full_disk_told(path):
            self.filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            if not self._moves:
                self.filesystem.pipe_file(path, content)
                return
            part = f"{path}.{os.getpid()}.part"
            self.filesystem.pipe_file(part, content)
            self.filesystem.mv(part, path)

    def create(self, name: str, content: bytes) -> bool:
        """The same, unless it is there; where the system has no such step, it is looked for first.

        Args:
            name: which.
            content: all of it.

        Returns:
            False if it is there.
        """
        path = self._path(name)
        try:
            with full_disk_told(path):
                self.filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
                self.filesystem.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        return True

    def append(self, name: str, line: bytes) -> None:
        """Add a line: the file is written anew, as objects cannot grow.

        Args:
            name: which file; of this process alone.
            line: with its end.
        """
        self._appended[name] = self._appended.get(name, b"") + line
        self.write(name, self._appended[name])

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Args:
            name: which.
        """
        if self.exists(name):
            self.filesystem.rm_file(self._path(name))

    def scan(self, names: list[str]) -> pl.LazyFrame:
        """Files as one lazy table.

        Args:
            names: which, at least one.

        Returns:
            The table; filters and columns are pushed down to the files.
        """
        import pyarrow.dataset as ds

        paths = [self._path(name) for name in names]
        return pl.scan_pyarrow_dataset(
            ds.dataset(paths, filesystem=self.filesystem, format="parquet")
        )

    def location(self, name: str) -> str:
        """URL of a file.

        Args:
            name: which.

        Returns:
            The URL.
        """
        return self.filesystem.unstrip_protocol(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._top}/{name}"


@contextmanager
def full_disk_told(path: str) -> Iterator[None]:
    """Says in our words that the disk is full.

    Args:
        path: what is written.

    Yields:
        For the time of writing.

    Raises:
        RunError: it is.
        OSError: another error of the system.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RunError(
            f"run_corpus: {path} could not be written ({error.strerror}), expected room for "
            "it. All shards that are done are kept: make room, and run the same command again."
        ) from None


def is_alive(pid: int) -> bool:
    """Whether a process of this host is there.

    Args:
        pid: its number.

    Returns:
        True also for one of another user.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _make_folder(folder: Path) -> None:
    """A folder to write into.

    Raises:
        RunError: there can be none.
    """
    try:
        with full_disk_told(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"run_corpus: {folder} cannot be made ({error.strerror}), expected a folder that can "
            "be written to. Name another one with `out`."
        ) from None


def _remove_left_over(path: Path) -> None:
    """Temporary files of this one whose process was killed."""
    for part in path.parent.glob(f".{path.stem}.*.part{path.suffix}"):
        pid = part.name.split(".")[2]
        if not pid.isdigit() or not is_alive(int(pid)):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """A name survives a loss of power when its folder is on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
