"""The folder of a run: shards that are there in full or not at all.

```text
manifest.json            config, versions, model, vocabulary, seeds, data
plan.parquet             items and their words, in order
words/000000.parquet     a shard of the kind's table (here of `phases`)
errors/000000.parquet    one row for each item that could not be used
items/000000.parquet     one row for each item that was used; written last
leases/, log*.txt
```

A shard is done when its file of ``items`` is there.
"""

import io
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from safetensors.torch import save
from torch import Tensor

from slm_lens.corpus.leases import Leases
from slm_lens.corpus.store import LocalStore, open_store
from slm_lens.corpus.tables import ACTIVATIONS, COMMON, OF_KIND, SCHEMA_VERSION, tables_of
from slm_lens.errors import RunError

MANIFEST, PLAN = "manifest.json", "plan.parquet"
_TABLES = {*COMMON, *(t for tables in OF_KIND.values() for t in tables), ACTIVATIONS}
_SHARD = re.compile(r"([0-9]{6,18})\.(?:parquet|safetensors)")
_OWN = {MANIFEST, PLAN, "leases", *_TABLES}

Content = pl.DataFrame | Mapping[str, Tensor]
"""What a shard has of a table: rows; of activations, tensors by hook."""


class RunFolder:
    """Reads and writes the folder.

    Args:
        url: a folder, made if needed, or a URL that fsspec knows.
        kind: the kind of the run.

    Raises:
        RunError: the folder holds something else.
    """

    def __init__(self, url: str | Path, kind: str) -> None:
        self.store = open_store(url)
        self._tables = tables_of(kind)
        foreign = [n for n in self.store.names() if not _is_own(n)]
        if foreign:
            raise RunError(
                f"run_corpus: {self.url} holds {foreign[:6]}, expected an empty folder or that "
                "of a run. Name another folder."
            )
        self.leases = Leases(self.store)
        mine = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
        self._log = "log.txt" if isinstance(self.store, LocalStore) else f"log-{mine}.txt"

    @property
    def url(self) -> str:
        """Where it is."""
        return self.store.url

    def is_done(self, shard: int) -> bool:
        """Whether a shard is there in full.

        Args:
            shard: which shard.

        Returns:
            True or False.
        """
        return self.store.exists(shard_name(self._tables[-1], shard))

    def shards_done(self) -> set[int]:
        """Which shards are there in full.

        Returns:
            Their numbers.
        """
        return set(shards_of(self.store.names(self._tables[-1])))

    def write_shard(self, shard: int, contents: Mapping[str, Content]) -> None:
        """Write the tables of a shard; the one that says that it is done comes last.

        Args:
            shard: which shard, leased by this process.
            contents: its rows; a table without rows has no file, but for the last.

        Raises:
            RunError: the disk is full.
        """  # noqa: DOC502 (raised by the store)
        for table in (ACTIVATIONS, *self._tables):
            content = contents.get(table)
            name = shard_name(table, shard)
            if isinstance(content, Mapping):
                self.store.write(name, save(dict(content)))
            elif content is not None and (len(content) or table == self._tables[-1]):
                self.store.write(name, _parquet(content, table, shard))
            elif self.store.exists(name):  # of a process that read the data when they were whole
                self.store.remove(name)

    def log(self, **facts: Any) -> None:
        """Add a line to the log: several processes may.

        Args:
            **facts: what to say, as JSON.

        Raises:
            RunError: the disk is full.
        """  # noqa: DOC502 (raised by the store)
        facts = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        } | facts
        self.store.append(self._log, (json.dumps(facts, ensure_ascii=False) + "\n").encode())


def shard_name(table: str, shard: int) -> str:
    """File of one shard of a table.

    Args:
        table: which table, or `ACTIVATIONS`.
        shard: which shard.

    Returns:
        Its name in the store.
    """
    ending = "safetensors" if table == ACTIVATIONS else "parquet"
    return f"{table}/{shard:06d}.{ending}"


def shards_of(names: list[str]) -> list[int]:
    """Numbers of the shards that have a file.

    Args:
        names: names in a table's folder; those of files that are being written are passed over.

    Returns:
        The numbers.
    """
    return sorted(int(m[1]) for n in names if (m := _SHARD.fullmatch(n)))


def _is_own(name: str) -> bool:
    return name in _OWN or ".part" in name or (name.startswith("log") and name.endswith(".txt"))


def _parquet(rows: pl.DataFrame, table: str, shard: int) -> bytes:
    """The rows as a file: the same bytes for the same rows."""
    arrow = rows.to_arrow()
    about = {"slm_lens.schema": SCHEMA_VERSION, "slm_lens.table": table, "slm_lens.shard": shard}
    arrow = arrow.replace_schema_metadata({k: str(v) for k, v in about.items()})
    content = io.BytesIO()
    pq.write_table(arrow, content, compression="zstd")
    return content.getvalue()
