"""A run of the kind ``score``: the rows of `slm_lens.score_trials`, some trials at a time.

Prompt and completion become one sequence as `slm_lens.likelihood.joining` says: sound was joined
before it became units; units that were extracted before are put together here, which is not quite
the same, since each encoder saw silence where the other part is; text, and what changes modality,
is written in the format of the model's family.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import polars as pl
import torch

from slm_lens.corpus.batches import batches
from slm_lens.corpus.items import AnyItem, Holds, Item, TrialItem
from slm_lens.corpus.kind_options import ScoreOptions
from slm_lens.corpus.kinds.kind import KindInput, ReadyItem, require_context
from slm_lens.corpus.run_folder import Content
from slm_lens.lens.states import choose_forward
from slm_lens.likelihood.joining import Joined, join_segments, join_speech
from slm_lens.likelihood.reader import LikelihoodReader
from slm_lens.likelihood.score_trials import regions_of, rows_of
from slm_lens.likelihood.trial import Trial
from slm_lens.likelihood.trial_scores import SCHEMA
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.speech.units import SpeechUnits, Units


class ScoreKind:
    """Makes rows of trials.

    Args:
        given: model and config.

    Raises:
        ValueError: the model has no such part of a vocabulary, or the forward pass cannot run.
    """

    holds: ClassVar[Holds] = "trials"

    def __init__(self, given: KindInput) -> None:
        options, config = given.config.options, given.config
        self._model: HookedSLM = given.model
        self._marked: bool | None = options.marked
        self._budget: int = config.tokens_per_batch
        self._reader = LikelihoodReader(
            given.model,
            within=options.within,
            forward=choose_forward(given.model, config.forward, "run_corpus"),
            autocast=config.autocast,
            caller="run_corpus",
        )
        self.facts: dict[str, Any] = {
            "within": options.within,
            "provenance": asdict(self._reader.provenance()),
        }

    @classmethod
    def needs_words(cls, options: ScoreOptions) -> bool:  # noqa: ARG003 (of every kind)
        """Whether items need word times.

        Args:
            options: of the kind.

        Returns:
            False.
        """
        return False

    def ready(self, position: int, name: str, item: AnyItem) -> ReadyItem[Trial]:
        """A trial as the model reads it.

        Args:
            position: which item of the run.
            name: its name.
            item: the trial, in units and text.

        Returns:
            The trial.

        Raises:
            ValueError: a side does not fit into the model's context, has no completion, or nothing
                that is scored; or the model has no format for its modalities.
        """  # noqa: DOC502 (raised by the parts)
        assert isinstance(item, TrialItem)
        if item.prompt is None:
            trial = Trial(name, item.part, self._whole(item.right), self._whole(item.wrong))
        else:
            right, wrong = (
                self._joined(item, item.prompt, side) for side in (item.right, item.wrong)
            )
            trial = Trial(name, item.part, right.sequence, wrong.sequence, right.start, wrong.start)
        n_tokens = max(len(trial.right), len(trial.wrong))
        require_context(n_tokens, self._model)
        regions_of(self._reader, trial)
        return ReadyItem(position, name, n_tokens, trial)

    def rows(self, batch: Sequence[ReadyItem[Trial]]) -> list[dict[str, Content]]:
        """Run the model; both sides of a trial together.

        Args:
            batch: items of like length.

        Returns:
            Rows of the table of scores of each item.
        """
        found = dict[int, dict[str, Content]]()
        # Two sequences of a trial take twice the tokens that the batch was made for.
        for group in batches([2 * x.n_tokens for x in batch], self._budget):
            of_group = rows_of(self._reader, [batch[i].work for i in group])
            for i, rows in zip(group, of_group, strict=True):
                found[i] = {"scores": pl.DataFrame(rows, schema=SCHEMA, orient="row")}
        return [found[i] for i in range(len(batch))]

    def _whole(self, side: Item) -> SpeechTextSequence:
        """A side without a prompt, in the format of the model's family.

        Raises:
            ValueError: it should be marked otherwise.
        """
        if self._marked is not None:
            raise ValueError(
                f"got score.marked={self._marked} for a trial without a prompt, expected none: it "
                "says how a prompt begins. Leave it out."
            )
        if side.units is not None:
            return self._model.sequence_from_units(side.units)
        return self._model.sequence_from_text(str(side.text))

    def _joined(self, item: TrialItem, prompt: Item, side: Item) -> Joined:
        """A side with its prompt."""
        if item.prompt_s is not None:
            assert side.units is not None
            return join_speech(self._model, side.units, prompt_s=item.prompt_s, marked=self._marked)
        if prompt.units is not None and side.units is not None:
            whole, prompt_s = self._put_together(prompt.units, side.units)
            return join_speech(self._model, whole, prompt_s=prompt_s, marked=self._marked)
        return join_segments(self._model, _content(prompt), _content(side), marked=self._marked)

    def _put_together(self, first: SpeechUnits, then: SpeechUnits) -> tuple[Units, float]:
        """Units of two clips as those of one, and how long the first is in seconds.

        A unit that ends one and begins the other is one, if the model's units are deduplicated.

        Raises:
            ValueError: there are several streams, or two frame rates.
        """
        if not isinstance(first, Units) or not isinstance(then, Units):
            raise ValueError(
                "got prompt and completion as several streams of units, expected one, or their "
                "sound: streams are put together by the encoder."
            )
        if first.frame_rate_hz != then.frame_rate_hz:
            raise ValueError(
                f"got a prompt of {first.frame_rate_hz} and a completion of {then.frame_rate_hz} "
                "frames a second, expected one rate. Encode both alike."
            )
        ids, frames = torch.cat([first.ids, then.ids]), first.durations_frames.tolist()
        rest, spec = then.durations_frames.tolist(), self._model.vocab_spec
        of_units = None if spec is None else spec.streams.get("units")
        if of_units is not None and of_units.deduplicated and ids[len(first)] == first.ids[-1]:
            ids, frames[-1] = torch.cat([first.ids, then.ids[1:]]), frames[-1] + rest.pop(0)
        whole = Units(ids, torch.tensor([*frames, *rest]), first.frame_rate_hz)
        return whole, first.duration_s


def _content(part: Item) -> str | SpeechUnits:
    return str(part.text) if part.units is None else part.units
