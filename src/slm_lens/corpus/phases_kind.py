"""A run of the kind ``phases``: the rows of `slm_lens.word_lens`, some items at a time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from slm_lens.corpus.dataset import Item
from slm_lens.corpus.plan import RunPlan
from slm_lens.corpus.run_config import RunConfig
from slm_lens.lens._word_table import build_table
from slm_lens.lens.states import choose_forward, provenance_of
from slm_lens.lens.targets import TargetPlan, WordTargets
from slm_lens.lens.tuned_lens import load_tuned_lens
from slm_lens.lens.utterance_reader import UtteranceReader
from slm_lens.lens.word_lens import LOGIT_LENS
from slm_lens.model.hooked import HookedSLM
from slm_lens.readout._device import kernel_for
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
from slm_lens.sequence.utterance import Utterance


@dataclass(frozen=True, eq=False)
class ReadyItem:
    """An item that the model can run.

    Attributes:
        position: which item of the run.
        utterance: what the model reads.
        words: what is ranked.
        without_position: spoken words that no position carries.
    """

    position: int
    utterance: Utterance
    words: list[WordTargets]
    without_position: list[str]

    @property
    def n_tokens(self) -> int:
        """Length of the sequence."""
        return len(self.utterance.sequence)


class PhasesKind:
    """Makes rows of items.

    Args:
        model: the model.
        plan: all items and words of the run.
        config: options of the reading.

    Raises:
        VocabError: the model has no text.
        ValueError: the lens is another model's, or controls are wanted for a single item.
    """

    def __init__(self, model: HookedSLM, plan: RunPlan, config: RunConfig) -> None:
        model.vocab.require_text("run_corpus", model.provenance.model_and_family)
        if config.n_draws and len(plan.items) == 1:
            raise ValueError(
                f"run_corpus: got one item with n_draws={config.n_draws}, expected at least two: "
                "shuffled control words come from other items. Set n_draws: 0."
            )
        lens = None if config.lens is None else load_tuned_lens(config.lens, model)
        policy = config.policy or model.word_policy
        forward = choose_forward(model, config.forward, "run_corpus")
        targets = TargetPlan(
            model.vocab,
            plan.words,
            policy=policy,
            function_words=ENGLISH_FUNCTION_WORDS,
            word_counts=None,
            n_draws=config.n_draws,
            seed=config.seed,
        )
        self._model = model
        self._reader = UtteranceReader(
            model, targets, n_draws=config.n_draws, forward=forward, lens=lens
        )
        provenance = replace(provenance_of(model, forward), kernel=kernel_for(model.W_U.device))
        self.facts: dict[str, Any] = {
            "provenance": asdict(provenance),
            "n_layers": model.cfg.n_layers,
            "d_vocab": model.vocab.d_vocab,
            "n_text": int(model.vocab.mask("text").sum()),
            "n_speech": int(model.vocab.mask("speech").sum()),
            "policy": policy,
            "n_draws": config.n_draws,
            "seed": config.seed,
            "lens": LOGIT_LENS if lens is None else lens.name,
        }

    def ready(self, position: int, name: str, item: Item) -> ReadyItem:
        """An item as the model reads it.

        Args:
            position: which item of the run.
            name: its name.
            item: units and words.

        Returns:
            The item with everything that is ranked.

        Raises:
            ValueError: it has no units, does not fit into the model's context, or no spoken word
                of it has a position.
        """
        if item.units is None:
            raise ValueError("got no units, expected speech for a run of the kind 'phases'.")
        sequence = self._model.sequence_from_units(item.units, item.alignment)
        context = self._model.cfg.n_ctx
        if len(sequence) > context:
            raise ValueError(
                f"got {len(sequence)} tokens, expected at most the {context} of the model's "
                "context. Cut the clip into utterances."
            )
        utterance = Utterance(name, sequence)
        words, without = self._reader.targets(position, utterance)
        if not words:
            raise ValueError(
                f"found no spoken word with a position among {len(sequence.words)} words, expected "
                "at least one. Are the times in seconds?"
            )
        return ReadyItem(position, utterance, words, without)

    def rows(self, batch: Sequence[ReadyItem]) -> pl.DataFrame:
        """Run the model once.

        Args:
            batch: items that run together.

        Returns:
            Their rows of the word table.
        """
        readouts = self._reader.read([x.utterance for x in batch], [x.words for x in batch])
        local = [replace(w, utterance=i) for i, x in enumerate(batch) for w in x.words]
        return build_table([x.utterance.name for x in batch], local, readouts)
