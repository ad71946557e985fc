"""A run from its folder: lazy tables, and what is computed from them without a model."""

from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from slm_lens.corpus._duckdb import connect
from slm_lens.corpus.cached_activations import CachedActivations
from slm_lens.corpus.manifest import read_manifest
from slm_lens.corpus.pair_results import patching_of, tracing_of
from slm_lens.corpus.run_folder import shard_name, shards_of
from slm_lens.corpus.store import Store, open_store
from slm_lens.corpus.tables import ERRORS, ITEMS, tables_of
from slm_lens.errors import RunError
from slm_lens.interventions.patching.patching_result import Patching
from slm_lens.interventions.tracing.tracing_result import Tracing
from slm_lens.lens.word_lens import WordLens
from slm_lens.likelihood.trial_scores import TrialScores
from slm_lens.model._facts import provenance_from

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FACTS = {f.name for f in fields(WordLens)} - {
    "table", "words_without_tokens", "words_without_positions"
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class CorpusRun:
    """The folder of a run, whether it is finished or not.

    Attributes:
        url: the folder, or its URL.
        manifest: what it was made from, and with.
        shards: the shards that are done.
    """

    url: str
    manifest: dict[str, Any]
    shards: tuple[int, ...]
    _store: Store

    @property
    def kind(self) -> str:
        """The kind of the run."""
        return self.manifest["kind"]

    @property
    def path(self) -> Path:
        """The folder, of a run on this machine."""
        return Path(self.url)

    def table(self, name: str) -> pl.LazyFrame:
        """A table over all shards that are done.

        Args:
            name: one of the tables of the run's kind, ``errors`` or ``items``.

        Returns:
            Its rows, in the order of the data; nothing is read before it is asked for.

        Raises:
            ValueError: a run of this kind has no such table.
        """
        known = tables_of(self.kind)
        if name not in known:
            raise ValueError(
                f"CorpusRun: got the table {name!r} of a run of the kind {self.kind!r}, expected "
                f"one of {known}."
            )
        files = self._files(name)
        if files:
            return self._store.scan(files)
        return pl.LazyFrame(schema={"errors": ERRORS, "items": ITEMS}.get(name, {}))

    @property
    def words(self) -> pl.LazyFrame:
        """Of ``phases``: one row for each item, spoken word and layer; see `WordLens`."""
        return self.table("words")

    @property
    def errors(self) -> pl.LazyFrame:
        """One row for each item that could not be used: where, at which stage, and why."""
        return self.table("errors")

    @property
    def items(self) -> pl.LazyFrame:
        """One row for each item that was used."""
        return self.table("items")

    @property
    def is_complete(self) -> bool:
        """Whether all shards are done."""
        return len(self.shards) == self.manifest["data"]["n_shards"]

    def duckdb(self) -> "DuckDBPyConnection":
        """The tables as views of DuckDB, for SQL.

        ::

            run.duckdb().sql("select layer, avg(text_mass) from words group by layer").pl()

        Returns:
            A connection of its own, in memory, with a view for each table that has rows.

        Raises:
            ImportError: duckdb is not installed.
        """  # noqa: DOC502 (raised by connect)
        return connect(self._store, {t: self._files(t) for t in tables_of(self.kind)})

    def word_lens(self) -> WordLens:
        """Of ``phases``: the word table as `slm_lens.word_lens` gives it, for `measure_phases`.

        Returns:
            The same rows and facts as in one go.

        Raises:
            ValueError: the run is of another kind.
            RunError: the run is not finished, no item could be read, or its manifest was edited.
        """  # noqa: DOC502 (ValueError is raised by table)
        table = self._whole("words")
        first = table.filter(layer=0, n_targets_current=0)
        without = self.items.select("words_without_positions").collect().to_series()
        facts = self._facts()
        if facts.keys() != _FACTS:
            raise RunError(
                f"open_run: the manifest of {self.url} has facts {sorted(facts)} of the table, "
                f"expected {sorted(_FACTS)}. Was it edited?"
            )
        return WordLens(
            table=table,
            words_without_tokens=dict(Counter(first["word"].to_list())),
            words_without_positions=dict(Counter(w for said in without for w in said)),
            **facts,
        )

    def activations(self) -> CachedActivations:
        """Of ``cache``: the activations of the shards that are done.

        Returns:
            They, and the table that says what they are of.

        Raises:
            ValueError: the run is of another kind.
        """  # noqa: DOC502 (raised by table)
        self.table("positions")
        there = shards_of(self._store.names("positions"))
        facts = self._facts()
        return CachedActivations(
            hooks=tuple(facts["hooks"]),
            at=facts["at"],
            dtype=facts["dtype"],
            provenance=facts["provenance"],
            _store=self._store,
            _numbers=tuple(s for s in self.shards if s in there),
        )

    def scores(self) -> TrialScores:
        """Of ``score``: the likelihoods as `slm_lens.score_trials` gives them.

        Returns:
            The same rows and facts as in one go.

        Raises:
            ValueError: the run is of another kind.
            RunError: the run is not finished, or no item could be read.
        """  # noqa: DOC502 (raised by table and _whole)
        return TrialScores(table=self._whole("scores"), **self._facts())

    def patching(self) -> Patching:
        """Of ``patch``: the table as `slm_lens.patch_pairs` gives it, for summaries and figures.

        Returns:
            The same rows and facts as in one go over the pairs that could be used.

        Raises:
            ValueError: the run is of another kind.
            RunError: the run is not finished, or no item could be read.
        """  # noqa: DOC502 (raised by the parts)
        return patching_of(self._whole("patching"), self._whole("engines"), self._facts())

    def tracing(self) -> Tracing:
        """Of ``trace``: the tables as `slm_lens.causal_trace` gives them.

        Returns:
            The same rows and facts as in one go over the pairs that could be used, with
            ``subject_runs(pairs, repeated="once")``.

        Raises:
            ValueError: the run is of another kind.
            RunError: the run is not finished, no item could be read, or the model answers none.
        """  # noqa: DOC502 (raised by the parts)
        prompts, engines = self._whole("prompts"), self._whole("engines")
        return tracing_of(self.table("tracing").collect(), prompts, engines, self._facts())

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

    def _whole(self, name: str) -> pl.DataFrame:
        """A table of a finished run.

        Raises:
            RunError: it is not finished, or no item could be read.
        """
        table = self.table(name)
        if not self.is_complete:
            raise RunError(
                f"open_run: {self.url} has {len(self.shards)} of "
                f"{self.manifest['data']['n_shards']} shards, expected all of them. Run it again "
                f"to go on, or read `{name}` as it is."
            )
        if not self._files(name):
            raise RunError(
                f"open_run: no item of {self.url} could be read, expected at least one. See "
                "`errors` for the reasons."
            )
        return table.collect()

    def _facts(self) -> dict[str, Any]:
        """What the run's results are besides their rows."""
        place = f"open_run: {self.url}"
        facts = dict(self.manifest["table"])
        return facts | {"provenance": provenance_from(facts.get("provenance"), place)}

    def _files(self, table: str) -> list[str]:
        there = set(shards_of(self._store.names(table)))
        return [shard_name(table, shard) for shard in self.shards if shard in there]


def open_run(url: str | Path) -> CorpusRun:
    """Open the folder of a run.

    Args:
        url: the folder, or a URL that fsspec knows.

    Returns:
        Its tables; of a run that is not finished, those of the shards that are done.

    Raises:
        LookupError: it is no run.
        RunError: its manifest is damaged, or of another version.
    """  # noqa: DOC502 (raised by read_manifest)
    store = open_store(url)
    manifest = read_manifest(store)
    shards = shards_of(store.names(tables_of(manifest["kind"])[-1]))
    return CorpusRun(store.url, manifest, tuple(shards), store)
