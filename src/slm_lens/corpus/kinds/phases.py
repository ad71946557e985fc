"""A run of the kind ``phases``: the rows of `slm_lens.word_lens`, some items at a time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from slm_lens.corpus.items import AnyItem, Holds, Item
from slm_lens.corpus.kind_options import PhasesOptions
from slm_lens.corpus.kinds.kind import KindInput, ReadyItem, require_context
from slm_lens.corpus.run_folder import Content
from slm_lens.lens._word_table import build_table
from slm_lens.lens.states import choose_forward, provenance_of
from slm_lens.lens.targets import TargetPlan, WordTargets
from slm_lens.lens.tuned_lens import load_tuned_lens
from slm_lens.lens.utterance_reader import UtteranceReader
from slm_lens.lens.word_lens import LOGIT_LENS
from slm_lens.readout._device import kernel_for
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
from slm_lens.sequence.utterance import Utterance


@dataclass(frozen=True, eq=False)
class _Spoken:
    """What the model reads, and what is ranked."""

    utterance: Utterance
    words: list[WordTargets]


class PhasesKind:
    """Makes rows of items.

    Args:
        given: model, plan and config.

    Raises:
        VocabError: the model has no text.
        ValueError: the lens is another model's, or controls are wanted for a single item.
    """

    holds: ClassVar[Holds] = "clips"

    def __init__(self, given: KindInput) -> None:
        model, options = given.model, given.config.options
        model.vocab.require_text("run_corpus", model.provenance.model_and_family)
        if options.n_draws and len(given.plan.items) == 1:
            raise ValueError(
                f"run_corpus: got one item with n_draws={options.n_draws}, expected at least two: "
                "shuffled control words come from other items. Set phases.n_draws: 0."
            )
        lens = None if options.lens is None else load_tuned_lens(options.lens, model)
        policy = options.policy or model.word_policy
        forward = choose_forward(model, given.config.forward, "run_corpus")
        targets = TargetPlan(
            model.vocab,
            given.plan.words,
            policy=policy,
            function_words=ENGLISH_FUNCTION_WORDS,
            word_counts=None,
            n_draws=options.n_draws,
            seed=given.config.seed,
        )
        self._model = model
        self._reader = UtteranceReader(
            model,
            targets,
            n_draws=options.n_draws,
            forward=forward,
            lens=lens,
            autocast=given.config.autocast,
        )
        provenance = provenance_of(model, forward, given.config.autocast)
        provenance = replace(provenance, kernel=kernel_for(model.W_U.device))
        self.facts: dict[str, Any] = {
            "provenance": asdict(provenance),
            "n_layers": model.cfg.n_layers,
            "d_vocab": model.vocab.d_vocab,
            "n_text": int(model.vocab.mask("text").sum()),
            "n_speech": int(model.vocab.mask("speech").sum()),
            "policy": policy,
            "n_draws": options.n_draws,
            "seed": given.config.seed,
            "lens": LOGIT_LENS if lens is None else lens.name,
        }

    @classmethod
    def needs_words(cls, options: PhasesOptions) -> bool:  # noqa: ARG003 (of every kind)
        """Whether items need word times.

        Args:
            options: of the kind.

        Returns:
            True.
        """
        return True

    def ready(self, position: int, name: str, item: AnyItem) -> ReadyItem[_Spoken]:
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
        assert isinstance(item, Item)
        if item.units is None:
            raise ValueError("got no units, expected speech for a run of the kind 'phases'.")
        sequence = self._model.sequence_from_units(item.units, item.alignment)
        require_context(len(sequence), self._model)
        utterance = Utterance(name, sequence)
        words, without = self._reader.targets(position, utterance)
        if not words:
            raise ValueError(
                f"found no spoken word with a position among {len(sequence.words)} words, expected "
                "at least one. Are the times in seconds?"
            )
        return ReadyItem(
            position,
            name,
            len(sequence),
            _Spoken(utterance, words),
            n_words=len(sequence.words),
            words_without_positions=tuple(without),
        )

    def rows(self, batch: Sequence[ReadyItem[_Spoken]]) -> list[dict[str, Content]]:
        """Run the model once.

        Args:
            batch: items that run together.

        Returns:
            Rows of the word table of each item.
        """
        works = [x.work for x in batch]
        readouts = self._reader.read([w.utterance for w in works], [w.words for w in works])
        local = [replace(t, utterance=i) for i, w in enumerate(works) for t in w.words]
        rows = build_table([x.name for x in batch], local, readouts)
        per_word, start, found = len(rows) // len(local), 0, []
        for work in works:
            n_rows = per_word * len(work.words)
            found.append({"words": rows.slice(start, n_rows)})
            start += n_rows
        return found
