"""A run from its folder: lazy tables, and what is computed from them without a model."""

import re
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from slm_lens.corpus.manifest import read_manifest
from slm_lens.corpus.tables import ERRORS, ITEMS, TABLES
from slm_lens.errors import RunError
from slm_lens.lens.word_lens import WordLens
from slm_lens.model._facts import provenance_from

_FACTS = {f.name for f in fields(WordLens)} - {
    "table", "words_without_tokens", "words_without_positions"
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class CorpusRun:
    """The folder of a run, whether it is finished or not.

    Attributes:
        path: the folder.
        manifest: what it was made from, and with.
        shards: the shards that are done.
    """

    path: Path
    manifest: dict[str, Any]
    shards: tuple[int, ...]

    @property
    def words(self) -> pl.LazyFrame:
        """One row for each item, spoken word and layer; columns as in `WordLens`."""
        return self._table("words")

    @property
    def errors(self) -> pl.LazyFrame:
        """One row for each item that could not be used: where, at which stage, and why."""
        return self._table("errors")

    @property
    def items(self) -> pl.LazyFrame:
        """One row for each item that was read."""
        return self._table("items")

    @property
    def is_complete(self) -> bool:
        """Whether all shards are done."""
        return len(self.shards) == self.manifest["data"]["n_shards"]

    def word_lens(self) -> WordLens:
        """The word table as `slm_lens.word_lens` gives it, for `measure_phases`.

        Returns:
            The same rows and facts as in one go.

        Raises:
            RunError: the run is not finished, no item could be read, or its manifest was edited.
        """
        if not self.is_complete:
            raise RunError(
                f"open_run: {self.path} has {len(self.shards)} of "
                f"{self.manifest['data']['n_shards']} shards, expected all of them. Run it again "
                "to go on, or read `words` as it is."
            )
        if not self._files("words"):
            raise RunError(
                f"open_run: no item of {self.path} could be read, expected at least one. See "
                "`errors` for the reasons."
            )
        table = self.words.collect()
        first = table.filter(layer=0, n_targets_current=0)
        without = self.items.select("words_without_positions").collect().to_series()
        facts = dict(self.manifest["table"])
        if facts.keys() != _FACTS:
            raise RunError(
                f"open_run: the manifest of {self.path} has facts {sorted(facts)} of the table, "
                f"expected {sorted(_FACTS)}. Was it edited?"
            )
        provenance = provenance_from(facts.pop("provenance"), f"open_run: {self.path}")
        return WordLens(
            table=table,
            provenance=provenance,
            words_without_tokens=dict(Counter(first["word"].to_list())),
            words_without_positions=dict(Counter(w for said in without for w in said)),
            **facts,
        )

    def summary(self) -> str:
        """How many items were read, and how many not, by reason.

        Returns:
            A few lines.
        """
        n_items = self.manifest["data"]["n_items"]
        failed = self.errors.select("stage", "error").collect()
        lines = [
            f"{self.items.select(pl.len()).collect().item()} of {n_items} items read, "
            f"{len(self.shards)} of {self.manifest['data']['n_shards']} shards done"
        ]
        if len(failed):
            lines.append(f"{len(failed)} ITEMS COULD NOT BE USED (table `errors`):")
            kinds = Counter(failed.rows()).most_common()
            lines += [f"  {n} x {error} at the stage {stage!r}" for (stage, error), n in kinds]
        return "\n".join(lines)

    def _table(self, table: str) -> pl.LazyFrame:
        files = self._files(table)
        if files:
            return pl.scan_parquet(files)
        return pl.LazyFrame(schema={"errors": ERRORS, "items": ITEMS}.get(table, {}))

    def _files(self, table: str) -> list[Path]:
        files = (self.path / table / f"{shard:06d}.parquet" for shard in self.shards)
        return [f for f in files if f.exists()]


def open_run(path: str | Path) -> CorpusRun:
    """Open the folder of a run.

    Args:
        path: the folder.

    Returns:
        Its tables; of a run that is not finished, those of the shards that are done.

    Raises:
        LookupError: it is no run.
        RunError: its manifest is damaged, or of another version.
    """  # noqa: DOC502 (raised by read_manifest)
    path = Path(path)
    manifest = read_manifest(path)
    named = (path / TABLES[-1]).glob("[0-9]*.parquet")
    shards = sorted(int(p.stem) for p in named if re.fullmatch(r"[0-9]{6,18}", p.stem))
    return CorpusRun(path, manifest, tuple(shards))
