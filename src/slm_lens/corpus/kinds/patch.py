"""A run of the kind ``patch``: the rows of `slm_lens.patch_pairs`, one pair at a time."""

from collections.abc import Sequence
from typing import Any, ClassVar

import polars as pl

from slm_lens.corpus.items import AnyItem, Holds
from slm_lens.corpus.kind_options import PatchOptions
from slm_lens.corpus.kinds.kind import KindInput, ReadyItem
from slm_lens.corpus.kinds.pair_work import engine_facts, engine_table, pair_of, ready_alone
from slm_lens.corpus.run_folder import Content
from slm_lens.interventions.named_metrics import named_metrics
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.interventions.patching._patched_pair import patch_pair, plan_patches
from slm_lens.interventions.patching.patching_result import SCHEMA


class PatchKind:
    """Makes rows of pairs.

    Args:
        given: model and config.

    Raises:
        ValueError: an unknown metric or option, or a layer or head that the model does not have.
    """

    holds: ClassVar[Holds] = "pairs"

    def __init__(self, given: KindInput) -> None:
        options: PatchOptions = given.config.options
        self._model, self._options = given.model, options
        self._plan = plan_patches(
            given.model,
            options.site,
            metrics=named_metrics(options.metrics, "patch"),
            direction=options.direction,
            at=options.at,
            fit=options.fit,
            layers=options.layers,
            heads=options.heads,
            source_layers="same" if options.source_layers is None else options.source_layers,
            memory_mb=options.memory_mb,
        )
        self.facts: dict[str, Any] = {
            **engine_facts(given.model),
            "direction": options.direction,
            "at": options.at,
            "fit": options.fit,
        }

    @classmethod
    def needs_words(cls, options: PatchOptions) -> bool:  # noqa: ARG003 (of every kind)
        """Whether items need words for controls.

        Args:
            options: of the kind.

        Returns:
            False: a pair is its own control.
        """
        return False

    def ready(self, position: int, name: str, item: AnyItem) -> ReadyItem[RunPair]:
        """An item as the model reads it.

        Args:
            position: which item of the run.
            name: its name.
            item: a pair.

        Returns:
            The item.

        Raises:
            ValueError: its runs do not match or do not fit into the model's context, or no token
                qualifies as its answer.
        """  # noqa: DOC502 (raised by the parts)
        pair = pair_of(self._model, name, item, self._options)
        return ready_alone(self._model, position, name, (pair.clean, pair.corrupted), pair)

    def rows(self, batch: Sequence[ReadyItem[RunPair]]) -> list[dict[str, Content]]:
        """Patch some pairs.

        Args:
            batch: the pairs.

        Returns:
            Rows of the table of patching of each, and how they were made.
        """
        found = list[dict[str, Content]]()
        for x in batch:
            done = patch_pair(self._model, x.work, self._plan)
            table = pl.DataFrame(done.rows, schema=SCHEMA, orient="row")
            engines = engine_table(x.name, done.engine, done.why)
            found.append({"patching": table, "engines": engines})
        return found
