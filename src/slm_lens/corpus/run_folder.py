"""The folder of a run: shards that are there in full or not at all.

```text
manifest.json            config, versions, model, vocabulary, seeds, data
plan.parquet             items and their words, in order
words/000000.parquet     one row for each item, spoken word and layer
errors/000000.parquet    one row for each item that could not be read
items/000000.parquet     one row for each item that was read; written last
leases/, log.txt
```

A shard is done when its file of ``items`` is there.
"""

import errno
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from slm_lens.corpus.leases import Leases, is_alive
from slm_lens.corpus.tables import SCHEMA_VERSION, TABLES
from slm_lens.errors import RunError

_LAST = TABLES[-1]
_OWN = {"manifest.json", "plan.parquet", "leases", "log.txt", *TABLES}
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class RunFolder:
    """Reads and writes the folder.

    Args:
        path: made if needed.

    Raises:
        RunError: the folder holds something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        foreign = sorted(
            p.name for p in self.path.iterdir() if p.name not in _OWN and ".part" not in p.name
        )
        if foreign:
            raise RunError(
                f"run_corpus: {self.path} holds {foreign[:6]}, expected an empty folder or that "
                "of a run. Name another folder."
            )
        self.leases = Leases(self.path / "leases")

    def shard_path(self, table: str, shard: int) -> Path:
        """File of one shard of a table.

        Args:
            table: one of `TABLES`.
            shard: which shard.

        Returns:
            The path.
        """
        return self.path / table / f"{shard:06d}.parquet"

    def is_done(self, shard: int) -> bool:
        """Whether a shard is there in full.

        Args:
            shard: which shard.

        Returns:
            True or False.
        """
        return self.shard_path(_LAST, shard).exists()

    def take(self, shard: int) -> bool:
        """Take a shard, unless a living process has it.

        Args:
            shard: which one.

        Returns:
            Whether it is this process's now.

        Raises:
            RunError: the disk is full.
        """  # noqa: DOC502 (raised by _told)
        with self._told(self.path / "leases"):
            return self.leases.take(shard)

    def write_shard(self, shard: int, tables: Mapping[str, pl.DataFrame]) -> None:
        """Write the tables of a shard; the one that says that it is done comes last.

        Args:
            shard: which shard, leased by this process.
            tables: its rows; a table without rows has no file, but for the last.

        Raises:
            RunError: the disk is full.
        """  # noqa: DOC502 (raised by write_file)
        for table in TABLES:
            rows, path = tables.get(table), self.shard_path(table, shard)
            path.parent.mkdir(exist_ok=True)
            self._remove_left_over(path)
            if rows is not None and (len(rows) or table == _LAST):
                self.write_file(path, _parquet(rows, table, shard))
            elif path.exists():
                path.unlink()

    def write_file(self, path: Path, content: bytes) -> None:
        """Put a file in its place when it is on the disk.

        Args:
            path: where.
            content: all of it.

        Raises:
            RunError: the disk is full.
        """  # noqa: DOC502 (raised by _told)
        with self._told(path), self._written(path, content) as part:
            part.replace(path)

    def create_file(self, path: Path, content: bytes) -> bool:
        """The same for a file that is not to be replaced.

        Args:
            path: where.
            content: all of it.

        Returns:
            False if it is there already.

        Raises:
            RunError: the disk is full.
        """  # noqa: DOC502 (raised by _told)
        with self._told(path), self._written(path, content) as part:
            try:
                os.link(part, path)
            except FileExistsError:
                return False
        return True

    def log(self, **facts: Any) -> None:
        """Add a line to the log: several processes may.

        Args:
            **facts: what to say, as JSON.

        Raises:
            RunError: the disk is full.
        """  # noqa: DOC502 (raised by _told)
        facts = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "pid": os.getpid(),
        } | facts
        line = (json.dumps(facts, ensure_ascii=False) + "\n").encode()
        path = self.path / "log.txt"
        with self._told(path), path.open("ab", buffering=0) as file:
            file.write(line)

    @contextmanager
    def _written(self, path: Path, content: bytes) -> Iterator[Path]:
        part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield part
            _sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        """Says in our words that the disk is full."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise RunError(
                f"run_corpus: {path} could not be written ({error.strerror}), expected room for "
                "it. All shards that are done are kept: make room, and run the same command again."
            ) from None

    @staticmethod
    def _remove_left_over(path: Path) -> None:
        """Temporary files of this shard whose process was killed."""
        for part in path.parent.glob(f".{path.stem}.*.part{path.suffix}"):
            pid = part.name.split(".")[2]
            if not pid.isdigit() or not is_alive(int(pid)):
                part.unlink(missing_ok=True)


def _parquet(rows: pl.DataFrame, table: str, shard: int) -> bytes:
    """The rows as a file: the same bytes for the same rows."""
    arrow = rows.to_arrow()
    about = {"slm_lens.schema": SCHEMA_VERSION, "slm_lens.table": table, "slm_lens.shard": shard}
    arrow = arrow.replace_schema_metadata({k: str(v) for k, v in about.items()})
    content = io.BytesIO()
    pq.write_table(arrow, content, compression="zstd")
    return content.getvalue()


def _sync_folder(folder: Path) -> None:
    """A name survives a loss of power when its folder is on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
