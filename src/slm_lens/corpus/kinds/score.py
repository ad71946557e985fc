"""A run of the kind ``score``: the rows of `slm_lens.score_trials`, some trials at a time.

How prompt and completion become one sequence is in `slm_lens.corpus.joined_trials`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import polars as pl

from slm_lens.corpus.batches import batches
from slm_lens.corpus.items import AnyItem, Holds, TrialItem
from slm_lens.corpus.joined_trials import joined_trial
from slm_lens.corpus.kind_options import ScoreOptions
from slm_lens.corpus.kinds.kind import KindInput, ReadyItem, require_context
from slm_lens.corpus.run_folder import Content
from slm_lens.lens.states import choose_forward
from slm_lens.likelihood.reader import LikelihoodReader
from slm_lens.likelihood.score_trials import regions_of, rows_of
from slm_lens.likelihood.trial import Trial
from slm_lens.likelihood.trial_scores import SCHEMA
from slm_lens.model.hooked import HookedSLM


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
        trial = joined_trial(self._model, name, item, marked=self._marked)
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
