"""Counterfactual pairs in the organism's language: two facts of one relation, other answers.

"the zebra lives in the" (desert) and "the tiger lives in the" (village) differ in one word, and
the model's answer in one token. Either run may be spoken or written, and either may go on in text
or in speech::

    pairs = organism_pairs(model)                                # two spoken sentences
    pairs = organism_pairs(model, clean="text")                  # across modalities as well
    pairs = organism_pairs(model, clean="text", same_sentence=True, known="clean")
    pairs.summary()  # how many, and what was left out

A spoken answer is known by its first unit, which many words share, and which depends on the word
before. So answer and foil are spoken after both prompts, in the pair's voice; where a unit begins
both, the pair is *ambiguous* and left out.

Source: ours; facts after Sternberg et al. 2026, arXiv:2606.22473.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl

from slm_lens._pictured import Pictured
from slm_lens.interventions.pairs.answers import answer_and_foil, answer_tokens
from slm_lens.interventions.pairs.matching import Matching, match_runs
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.lens.model import require_vocabulary
from slm_lens.model.hooked import HookedSLM
from slm_lens.model.provenance import Provenance
from slm_lens.organism.corpus import TRAINING_VOICES, draw_voice
from slm_lens.organism.fact_runs import FactRuns
from slm_lens.organism.language import RELATIONS, Fact, facts
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import MODALITIES, Modality
from slm_lens.speech.synthesis import Voice

Known = Literal["both", "clean", "any"]
WhichFacts = Literal["spoken", "never_spoken", "all"]

_PAIR_SEED = 6


@dataclass(frozen=True, eq=False)
class FactPairs(Pictured):
    """Pairs of facts, and those that were left out.

    Attributes:
        pairs: the pairs that were kept.
        table: one row for each pair that was tried. Columns: ``name``, ``relation``,
            ``clean_subject``, ``corrupted_subject``, ``answer``, ``foil``, ``ever_spoken``
            (whether both facts are), ``voice`` (null where nothing is spoken), ``verdict``
            (``"kept"``, ``"unknown"`` or ``"ambiguous"``), ``clean_known``, ``corrupted_known``
            (whether the run's answer is the likeliest of its relation's; null for ambiguous ones).
        known: which runs had to be answered rightly.
        provenance: the model that was asked.
    """

    pairs: tuple[RunPair, ...]
    table: pl.DataFrame
    known: Known
    provenance: Provenance

    def to_frame(self) -> pl.DataFrame:
        """`table`."""
        return self.table

    def summary(self) -> str:
        """How many pairs were kept, and why others were left out.

        Returns:
            One line.
        """
        verdicts = self.table["verdict"].to_list()
        return (
            f"{len(self.pairs)} of {len(verdicts)} pairs kept; left out: "
            f"{verdicts.count('unknown')} that the model does not answer (known={self.known!r}), "
            f"{verdicts.count('ambiguous')} whose spoken answers begin alike"
        )


@dataclass(frozen=True)
class _Setting:
    """What all pairs of one set have in common."""

    clean: Modality
    corrupted: Modality
    continue_in: Modality
    same_sentence: bool
    match: Matching


def organism_pairs(
    model: HookedSLM,
    *,
    clean: Modality = "speech",
    corrupted: Modality = "speech",
    continue_in: Modality = "text",
    same_sentence: bool = False,
    known: Known = "both",
    which_facts: WhichFacts = "spoken",
    relations: Sequence[str] = RELATIONS,
    n_partners: int = 1,
    match: Matching = "words",
    seed: int = 0,
) -> FactPairs:
    """Pairs of runs from the facts of the organism's language.

    Every fact is the clean run once for each of its partners: facts of the same relation with
    another answer. A pair has one voice, drawn from those of the training.

    Args:
        model: an organism.
        clean: modality of the clean run.
        corrupted: modality of the corrupted run.
        continue_in: modality of the answer. A written answer is the tokens of its word; a spoken
            one its first units, see above.
        same_sentence: the corrupted run is the clean run's sentence in the other modality; the
            foil is a partner's answer all the same.
        known: which runs the model must answer rightly for a pair to be kept: its answer is the
            likeliest of its relation's. In speech a first unit that a third word shares counts.
        which_facts: facts whose sentences occur in the training's speech, that occur in its text
            alone, or all.
        relations: relations to take facts of.
        n_partners: partners of each fact, drawn anew for each.
        match: which spans stand for each other, see `match_runs`.
        seed: of partners and voices.

    Returns:
        The pairs, and what was left out.

    Raises:
        ValueError: an unknown option, a model that does not know the language, the same sentence
            in the same modality, or no pair is left.
        TypeError: the model knows no vocabulary.
        ImportError: something is to be spoken, and there is no espeak-ng.
    """  # noqa: DOC502 (TypeError and ImportError are raised by the parts)
    require_vocabulary(model, "organism_pairs")
    _check_options(clean, corrupted, continue_in, same_sentence, known, which_facts, n_partners)
    setting = _Setting(clean, corrupted, continue_in, same_sentence, match)
    runs = FactRuns(model)
    _check_language(model)
    chosen = _chosen_facts(relations, which_facts)
    pairs, rows = list[RunPair](), list[dict[str, object]]()
    for fact in chosen:
        generator = np.random.default_rng([_PAIR_SEED, seed, facts().index(fact)])
        voice = draw_voice(generator, TRAINING_VOICES)
        others = [f for f in chosen if f.relation == fact.relation and f.answer != fact.answer]
        for i in generator.permutation(len(others))[:n_partners].tolist():
            pair, row = _pair(runs, fact, others[i], voice, generator, setting)
            kept = pair is not None and _is_known(row, known)
            row["verdict"] = "kept" if kept else "ambiguous" if pair is None else "unknown"
            rows.append(row)
            pairs += [pair] if pair is not None and kept else []
    made = FactPairs(tuple(pairs), pl.DataFrame(rows, _SCHEMA), known, model.provenance)
    if not pairs:
        raise ValueError(
            f"organism_pairs: got no pair ({made.summary()}), expected at least one. Take "
            "known='any', more partners, or other facts."
        )
    return made


_SCHEMA = {
    **dict.fromkeys(("name", "relation", "clean_subject", "corrupted_subject"), pl.String),
    **dict.fromkeys(("answer", "foil"), pl.String),
    "ever_spoken": pl.Boolean,
    **dict.fromkeys(("voice", "verdict"), pl.String),
    **dict.fromkeys(("clean_known", "corrupted_known"), pl.Boolean),
}


def _pair(
    runs: FactRuns,
    fact: Fact,
    partner: Fact,
    voice: Voice,
    generator: np.random.Generator,
    setting: _Setting,
) -> tuple[RunPair | None, dict[str, object]]:
    """A pair and its row of the table; None where the answers cannot be told apart."""
    other = fact if setting.same_sentence else partner
    silent = (setting.clean, setting.corrupted, setting.continue_in) == ("text",) * 3
    row: dict[str, object] = {
        "name": f"{fact.relation}: {fact.subject}, {partner.subject}",
        "relation": fact.relation,
        "clean_subject": fact.subject,
        "corrupted_subject": other.subject,
        "answer": fact.answer,
        "foil": partner.answer,
        "ever_spoken": fact.spoken and other.spoken,
        "voice": None if silent else voice.name,
    }
    following = str(generator.choice([w for w in fact.counterfactuals if w != partner.answer]))
    clean = runs.run(fact.prompt, setting.clean, setting.continue_in, voice, following)
    corrupted = runs.run(other.prompt, setting.corrupted, setting.continue_in, voice, following)
    if setting.continue_in == "text":
        vocab, policy = runs.model.vocab, runs.model.word_policy
        answer, foil = answer_and_foil(vocab, fact.answer, partner.answer, policy)
    else:
        prompts = (fact.prompt, other.prompt)
        answer, foil = (
            tuple(sorted({runs.first_unit(p, word, voice) for p in prompts}))
            for word in (fact.answer, partner.answer)
        )
        if set(answer) & set(foil):
            return None, row
    told = {fact.answer: answer, partner.answer: foil}
    row["clean_known"] = _knows(runs, clean, fact, told, voice, setting.continue_in)
    row["corrupted_known"] = _knows(runs, corrupted, other, told, voice, setting.continue_in)
    matches = match_runs(clean, corrupted, setting.match)
    return RunPair(str(row["name"]), clean, corrupted, answer, foil, matches), row


def _knows(
    runs: FactRuns,
    run: SpeechTextSequence,
    fact: Fact,
    told: dict[str, tuple[int, ...]],
    voice: Voice,
    continue_in: Modality,
) -> bool:
    """Whether the fact's answer is the likeliest of its relation's; `told` has some of them."""
    own = told[fact.answer]
    choices = dict[str, tuple[int, ...]]()
    for word in fact.counterfactuals:
        if word in told:
            choices[word] = told[word]
        elif continue_in == "text":
            choices[word] = answer_tokens(runs.model.vocab, word, runs.model.word_policy)
        else:
            choices[word] = (runs.first_unit(fact.prompt, word, voice),)
    rivals = {w: ids for w, ids in choices.items() if not set(ids) <= set(own)}
    return runs.best(run, {**rivals, fact.answer: own}) == fact.answer  # last, so no tie is won


def _is_known(row: dict[str, object], known: Known) -> bool:
    asked = {"both": ("clean_known", "corrupted_known"), "clean": ("clean_known",), "any": ()}
    return all(row[column] for column in asked[known])


def _chosen_facts(relations: Sequence[str], which: WhichFacts) -> tuple[Fact, ...]:
    unknown = [r for r in relations if r not in RELATIONS]
    wanted = {"spoken": (True,), "never_spoken": (False,), "all": (True, False)}[which]
    chosen = tuple(f for f in facts() if f.relation in relations and f.spoken in wanted)
    if unknown or not chosen:
        raise ValueError(
            f"organism_pairs: got relations={tuple(relations)} and which_facts={which!r}, which "
            f"are {len(chosen)} facts, expected some, of {RELATIONS}. The facts about places and "
            "food (weather, taste) are all spoken."
        )
    return chosen


def _check_language(model: HookedSLM) -> None:
    words = sorted({f.answer for f in facts()} | {f.subject for f in facts()})
    unknown = [w for w in words if not model.vocab.word_tokens(w, model.word_policy)]
    if unknown:
        raise ValueError(
            f"organism_pairs: {model.provenance.model_and_family} has no tokens for {unknown[:4]}, "
            "expected an organism, which knows these words. Pairs for other models come from a "
            "table: read_pairs(model, path)."
        )


def _check_options(
    clean: str,
    corrupted: str,
    continue_in: str,
    same_sentence: bool,
    known: str,
    which_facts: str,
    n_partners: int,
) -> None:
    """Refuse unknown values of options, and a pair of a run with itself.

    Raises:
        ValueError: naming the valid ones.
    """
    for name, got, valid in (
        ("clean", clean, MODALITIES),
        ("corrupted", corrupted, MODALITIES),
        ("continue_in", continue_in, MODALITIES),
        ("known", known, get_args(Known)),
        ("which_facts", which_facts, get_args(WhichFacts)),
    ):
        if got not in valid:
            raise ValueError(f"organism_pairs: got {name}={got!r}, expected one of {valid}.")
    if n_partners < 1:
        raise ValueError(
            f"organism_pairs: got n_partners={n_partners}, expected at least 1: a pair has two "
            "facts."
        )
    if same_sentence and clean == corrupted:
        raise ValueError(
            f"organism_pairs: got same_sentence=True with both runs in {clean}, expected one of "
            "each modality. Write clean='text', corrupted='speech'."
        )
