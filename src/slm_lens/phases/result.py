"""`Phases`: the curves, the phase layers, and how they were measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import polars as pl

from slm_lens._atomic import write_atomically
from slm_lens._pictured import Pictured
from slm_lens.lens.word_lens import LOGIT_LENS
from slm_lens.model._facts import provenance_from, read_facts, write_facts
from slm_lens.model.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd

WordSelection = Literal["content", "all"]


@dataclass(frozen=True)
class LayerEstimate:
    """A layer, or a difference of two layers, with its interval.

    Attributes:
        layer: the layer; 0 is the embedding. None: never, or not measurable.
        interval: 95 % interval over resampled utterances, in which the layer is found anew each
            time; an end that is None means never. ``(None, None)`` without resamples.
    """

    layer: int | None
    interval: tuple[int | None, int | None]


@dataclass(frozen=True, eq=False)
class Phases(Pictured):
    """Recall, modality and next-unit curves over layers, and the layers where the phases are.

    The headline of the current word is its recall in text, pooled by *maximum* over the word's
    positions; that of the next word is its recall in text at the word's *last* position, where the
    next word is what has to be predicted. Each is read at the layer where its own recall@5 is
    highest, so it is biased upwards by the choice of that layer; the same choice is *not* made
    for its control, which is read at that very layer. A share of words hit "at any layer" is a
    larger number and stands under its own name in the table.

    Attributes:
        curves: one row for each curve and layer: ``model``, ``measure``, ``control`` (``"none"``
            for the words themselves, else ``"shuffled"``, ``"frequency matched"``, or the name of a
            control table), ``vocab``, ``pool``, ``k``, ``layer`` (null for ``*_any_layer``),
            ``estimate``, ``low`` and ``high`` (95 % interval over resampled utterances, null
            without resamples), ``chance`` (null where there is none) and ``n_words``.
        provenance: what the numbers depend on: model, dtype, attention, compatibility mode.
        control_provenance: likewise for each control table, by its name; the same in dtype,
            attention and compatibility mode.
        n_layers: blocks; layers run from 0 (embeddings) to ``n_layers``.
        words: which words count. With ``"content"``, the current word is a content word in the
            current-word recall, and the next word is one in the next-word recall.
        n_utterances: utterances of the word table, which are resampled.
        n_words: words that entered the current-word recall.
        n_next_words: words that entered the next-word recall.
        left_out: why selected words did not enter a recall, and how many.
        current_word: layer of the highest current-word recall@5 (text, max); the earliest of ties.
        next_word: layer of the highest next-word recall@5 (text, last); the earliest of ties.
        return_to_speech: first layer after the next-word peak from which on the mean speech mass
            stays above 0.5, up to the last layer; None if it never does.
        layer_difference: next-word peak minus current-word peak.
        policy: which tokens count as a word.
        n_draws: control words for each word.
        n_bootstrap: resamples.
        seed: seed of the resamples.
        lens: what the layers were read through, see `WordLens`.
    """

    curves: pl.DataFrame
    provenance: Provenance
    control_provenance: Mapping[str, Provenance]
    n_layers: int
    words: WordSelection
    n_utterances: int
    n_words: int
    n_next_words: int
    left_out: Mapping[str, int]
    current_word: LayerEstimate
    next_word: LayerEstimate
    return_to_speech: LayerEstimate
    layer_difference: LayerEstimate
    policy: str
    n_draws: int
    n_bootstrap: int
    seed: int
    lens: str = LOGIT_LENS

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.provenance.name

    @overload
    def to_frame(self) -> pl.DataFrame: ...
    @overload
    def to_frame(self, *, backend: Literal["polars"]) -> pl.DataFrame: ...
    @overload
    def to_frame(self, *, backend: Literal["pandas"]) -> "pd.DataFrame": ...
    def to_frame(
        self, *, backend: Literal["polars", "pandas"] = "polars"
    ) -> "pl.DataFrame | pd.DataFrame":
        """The curves as a data frame.

        Args:
            backend: ``"polars"`` or ``"pandas"``.

        Returns:
            `curves`; a copy for pandas.

        Raises:
            ValueError: unknown backend.
            ImportError: pandas is wanted and not installed.
        """
        if backend == "polars":
            return self.curves
        if backend != "pandas":
            raise ValueError(f"to_frame: got backend {backend!r}, expected 'polars' or 'pandas'.")
        try:
            import pandas  # noqa: F401 (only to say what is missing)
        except ImportError as error:
            raise ImportError(
                "to_frame: backend 'pandas' needs pandas. Run `pip install pandas`."
            ) from error
        return self.curves.to_pandas()

    def curve(
        self,
        measure: str,
        *,
        control: str = "none",
        vocab: str | None = None,
        pool: str | None = None,
        k: int | None = None,
    ) -> pl.DataFrame:
        """The rows of one curve, by layer.

        Args:
            measure: as in the column of that name.
            control: likewise.
            vocab: likewise; None for curves that have no vocabulary.
            pool: likewise.
            k: likewise.

        Returns:
            One row for each layer.

        Raises:
            LookupError: there is no such curve.
        """
        keys = {"measure": measure, "control": control, "vocab": vocab, "pool": pool, "k": k}
        rows = self.curves.filter(*(pl.col(c).eq_missing(pl.lit(v)) for c, v in keys.items()))
        if rows.is_empty():
            known = self.curves.select(list(keys)).unique(maintain_order=True)
            near = known.filter(pl.col("measure") == measure)
            shown = (known.select("measure").unique() if near.is_empty() else near).rows()
            raise LookupError(f"curve: got {keys}, expected one of {shown}.")
        return rows.sort("layer")

    def summary(self) -> dict[str, object]:
        """The headline numbers, ready for JSON.

        Current word: text, pooled by maximum; next word: text, at the word's last position. Both
        at the layer of their highest recall@5.

        Returns:
            ``model``, ``lens``, ``provenance``, ``n_utterances``, ``n_words`` (words in the
            current-word recall), ``current_word`` and ``next_word`` (``layer``, ``recall_at_1``,
            ``recall_at_5``, ``interval_at_5``, ``shuffled_at_5``, which is None without control
            draws),
            ``layer_difference_interval`` (next minus current) and ``speech_mass_last_layer``.
        """
        speech = self.curve("speech_mass")["estimate"][-1]
        return {
            "model": self.model,
            "lens": self.lens,
            "provenance": asdict(self.provenance),
            "n_utterances": self.n_utterances,
            "n_words": self.n_words,
            "current_word": self._headline("current", "max", self.current_word),
            "next_word": self._headline("next", "last", self.next_word),
            "layer_difference_interval": list(self.layer_difference.interval),
            "speech_mass_last_layer": speech,
        }

    def _headline(self, target: str, pool: str, peak: LayerEstimate) -> dict[str, object]:
        def at(k: int, control: str) -> dict[str, object]:
            rows = self.curve(
                f"{target}_word_recall", control=control, vocab="text", pool=pool, k=k
            )
            return rows.row(peak.layer, named=True) if peak.layer is not None else _NOTHING

        at_5 = at(5, "none")
        return {
            "layer": peak.layer,
            "recall_at_1": at(1, "none")["estimate"],
            "recall_at_5": at_5["estimate"],
            "interval_at_5": [at_5["low"], at_5["high"]],
            "shuffled_at_5": at(5, "shuffled")["estimate"] if self.n_draws else None,
        }

    def write(self, folder: Path) -> None:
        """Write ``phases.parquet`` (the curves) and ``phases.json`` (the rest, and the summary).

        Each file appears in full or not at all, also after Ctrl-C.

        Args:
            folder: made if needed; earlier files are replaced.
        """
        facts = {"summary": self.summary(), **{n: self.__dict__[n] for n in _FACTS}}
        write_atomically(folder / "phases.parquet", self.curves.write_parquet)
        write_facts(folder / "phases.json", facts)


_FACTS = [f.name for f in fields(Phases) if f.name != "curves"]
_NOTHING: dict[str, object] = {"estimate": None, "low": None, "high": None}


def read_phases(folder: Path) -> Phases:
    """Read what `Phases.write` wrote.

    Args:
        folder: where it was written.

    Returns:
        An equal result.

    Raises:
        LookupError: the folder holds no phases.
        ValueError: it was written by another version, for example without provenance.
    """  # noqa: DOC502 (raised by read_facts)
    facts = read_facts(folder, "phases", ["summary", *_FACTS], reader="read_phases")
    del facts["summary"]
    facts["control_provenance"] = {
        name: provenance_from(p, f"read_phases: provenance of {name!r} in {folder}")
        for name, p in facts["control_provenance"].items()
    }
    for name, value in facts.items():
        if isinstance(value, dict) and set(value) == {"layer", "interval"}:
            low, high = value["interval"]
            facts[name] = LayerEstimate(value["layer"], (low, high))
    return Phases(curves=pl.read_parquet(folder / "phases.parquet"), **facts)
