"""`WordLens`: what each layer makes of each spoken word, as a tidy table.

For every spoken word and every layer: logits at the word's positions (`LogitLens`), pooled over
the positions, and in them the rank of the word itself, of the word that follows, and of control
words; the share of each modality; and the rank of the speech unit that really comes next.

Memory: logits exist only a tile at a time (`slm_lens.readout.read_out`).

Source: ours, after Sternberg, Maimon and Adi 2026, arXiv:2606.22473 (current- and next-word
recall, modality preference); their exact definitions are not public, so every choice is a named
option here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl

from slm_lens._atomic import write_atomically
from slm_lens._pictured import Pictured
from slm_lens.lens._read_words import WordReadout
from slm_lens.lens._word_table import build_table
from slm_lens.lens.model import SpeechTextModel, require_vocabulary
from slm_lens.lens.states import Forward, choose_forward
from slm_lens.lens.targets import TargetPlan, WordTargets
from slm_lens.lens.tuned_lens import TunedLens
from slm_lens.lens.utterance_reader import UtteranceReader
from slm_lens.model._facts import read_facts, write_facts
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.utterance import Utterance
from slm_lens.vocab import WordPolicy

LOGIT_LENS = "logit lens"
"""Name of the lens without which nothing is fitted."""


@dataclass(frozen=True, eq=False)
class WordLens(Pictured):
    """One row for each utterance, spoken word and layer.

    Attributes:
        table: the rows; columns below.
        provenance: what the numbers depend on: model, dtype, attention, compatibility mode.
        n_layers: blocks of the model; layers run from 0 (embeddings) to ``n_layers``.
        d_vocab: rows of the embedding.
        n_text: text rows.
        n_speech: speech rows.
        policy: which tokens count as a word.
        n_draws: control words per word and kind of control.
        seed: seed of the control draws.
        words_without_tokens: words for which the policy finds no token, and how often each is
            spoken; their rows have null ranks, and they count in no recall.
        words_without_positions: spoken words that no position carries; they have no rows.
        lens: what the layers were read through: `LOGIT_LENS`, or `TunedLens.name`.

    Columns of the table:
        ``utterance``, ``word_index`` (among all words of the utterance), ``word``, ``next_word``
        (null for the last), ``next_modality``, ``is_content``, ``next_is_content``, ``layer``,
        ``n_positions``, ``n_targets_current``, ``n_targets_next``, ``next_targets_meet``.

        ``rank_{current,next}_{text,full}_{max,last}``: rank, from 1, of the word's best token among
        text rows or all rows (unused ones too, as in the model's softmax), in logits pooled by
        maximum over the word's positions or read at its last position. Null where there is no
        token, no next word, or the two words' tokens meet.

        ``{shuffled,frequency_matched}_{current,next}_text_{max,last}``: list of ``n_draws`` ranks
        of control words (rules in `slm_lens.lens.targets`); null where the true rank is null or no
        control word qualifies.

        ``{text,speech,other}_{mass,argmax,top10}``: mean over the word's positions of the softmax
        mass, of "the top token is of this modality", and of the share of the top 10.

        ``rank_next_unit``: rank among speech rows of the token that follows the word's *last*
        position; ``reciprocal_rank_next_unit``: mean of 1 / rank over the word's positions;
        ``next_unit_hit``: share of positions at which that token is the top of *all* rows.
        Positions that no speech token follows are left out; null when none is left.
    """

    table: pl.DataFrame
    provenance: Provenance
    n_layers: int
    d_vocab: int
    n_text: int
    n_speech: int
    policy: WordPolicy
    n_draws: int
    seed: int
    words_without_tokens: Mapping[str, int]
    words_without_positions: Mapping[str, int]
    lens: str = LOGIT_LENS

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.provenance.name

    def write(self, folder: Path) -> None:
        """Write ``word_lens.parquet`` and ``word_lens.json``; an interruption leaves no part.

        Args:
            folder: made if needed; earlier files are replaced.
        """
        write_atomically(folder / "word_lens.parquet", self.table.write_parquet)
        write_facts(folder / "word_lens.json", {n: self.__dict__[n] for n in _FACTS})


_FACTS = [f.name for f in fields(WordLens) if f.name != "table"]


def read_word_lens(folder: Path) -> WordLens:
    """Read what `WordLens.write` wrote.

    Args:
        folder: where it was written.

    Returns:
        The same table and facts.

    Raises:
        LookupError: the folder holds no word table.
        ValueError: it was written by another version, for example without provenance.
    """  # noqa: DOC502 (raised by read_facts)
    facts = read_facts(folder, "word_lens", _FACTS, reader="read_word_lens")
    return WordLens(table=pl.read_parquet(folder / "word_lens.parquet"), **facts)


def word_lens(
    model: SpeechTextModel,
    utterances: Sequence[Utterance],
    *,
    function_words: frozenset[str],
    policy: WordPolicy,
    n_draws: int = 20,
    seed: int = 0,
    word_counts: Mapping[str, int] | None = None,
    batch_size: int = 1,
    forward: Forward = "auto",
    lens: TunedLens | None = None,
) -> WordLens:
    """Read every spoken word at every layer.

    Args:
        model: the model, in evaluation mode.
        utterances: what to read; names must differ.
        function_words: lower-case words that are not content words, e.g.
            `slm_lens.sequence.function_words.ENGLISH_FUNCTION_WORDS`.
        policy: which tokens count as a word.
        n_draws: control words for each word and kind of control; 0 for none.
        seed: seed of the control draws.
        word_counts: corpus counts (lower-case words) for the frequency-matched controls; None
            counts over ``utterances``.
        batch_size: utterances in one forward pass, padded on the right. Changes numbers by
            rounding only.
        forward: which forward pass gives the states, as in `residual_stack`; the provenance says
            which one ran.
        lens: what to read through; None for the logit lens. One that was fitted at text positions
            can find words where one that was fitted at speech positions reads units.

    Returns:
        The table, with the counts of words that could not be read.

    Raises:
        VocabError: the model has no text tokens to read words in.
        ValueError: no utterance, a name that occurs twice, no spoken word with a position,
            controls wanted for a single utterance, an option out of range,
            a lens of another model, or a model that `residual_stack` refuses.

        TypeError: `lens` is no tuned lens, or the model knows no vocabulary.

    Source:
        Ours.
    """  # noqa: DOC502 (some raised by the functions it calls)
    require_vocabulary(model, "word_lens")
    model.vocab.require_text("word_lens", model.provenance.model_and_family)
    _check_options(utterances, n_draws, batch_size)
    if lens is not None and not isinstance(lens, TunedLens):
        raise TypeError(
            f"word_lens: got a {type(lens).__name__} as lens, expected a TunedLens, or None for "
            "the logit lens."
        )
    if lens is not None:
        lens.require_model(model, "word_lens")
    plan = TargetPlan(
        model.vocab,
        utterances,
        policy=policy,
        function_words=function_words,
        word_counts=word_counts,
        n_draws=n_draws,
        seed=seed,
    )
    reader = UtteranceReader(
        model, plan, n_draws=n_draws, forward=choose_forward(model, forward, "word_lens"), lens=lens
    )
    words, skipped = _spoken_words(reader, utterances)
    readouts: list[WordReadout] = []
    for first in range(0, len(utterances), batch_size):
        batch = range(first, min(first + batch_size, len(utterances)))
        readouts += reader.read([utterances[u] for u in batch], [words[u] for u in batch])
    flat = [w for per_utterance in words for w in per_utterance]
    return WordLens(
        table=build_table([x.name for x in utterances], flat, readouts),
        provenance=reader.provenance(readouts),
        n_layers=model.cfg.n_layers,
        d_vocab=model.vocab.d_vocab,
        n_text=int(model.vocab.mask("text").sum()),
        n_speech=int(model.vocab.mask("speech").sum()),
        policy=policy,
        n_draws=n_draws,
        seed=seed,
        words_without_tokens=dict(Counter(w.span.word for w in flat if not w.current)),
        words_without_positions=dict(skipped),
        lens=LOGIT_LENS if lens is None else lens.name,
    )


def _check_options(utterances: Sequence[Utterance], n_draws: int, batch_size: int) -> None:
    names = Counter(x.name for x in utterances)
    twice = [name for name, n in names.items() if n > 1]
    if not names or twice:
        raise ValueError(
            f"word_lens: got {len(utterances)} utterances with repeated names {twice[:4]}, "
            "expected at least one utterance, each with a name of its own."
        )
    if n_draws < 0 or batch_size < 1:
        raise ValueError(
            f"word_lens: got n_draws={n_draws}, batch_size={batch_size}; expected n_draws >= 0 and "
            "batch_size >= 1."
        )
    if n_draws and len(utterances) == 1:
        raise ValueError(
            "word_lens: got one utterance with n_draws="
            f"{n_draws}, expected at least two: shuffled control words come from other utterances. "
            "Give more utterances, or n_draws=0 for ranks without controls."
        )


def _spoken_words(
    reader: UtteranceReader, utterances: Sequence[Utterance]
) -> tuple[list[list[WordTargets]], Counter[str]]:
    """Targets of every spoken word that has a position, and the spoken words that have none.

    Raises:
        ValueError: no spoken word with a position.
    """
    words: list[list[WordTargets]] = []
    skipped: Counter[str] = Counter()
    for u, utterance in enumerate(utterances):
        found, without = reader.targets(u, utterance)
        words.append(found)
        skipped.update(without)
    if not any(words):
        raise ValueError(
            f"word_lens: found no spoken word with a position in {len(utterances)} utterances, "
            "expected at least one. Are the words of the sequences marked 'speech'?"
        )
    return words, skipped
