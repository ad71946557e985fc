"""What the kinds of runs over pairs have in common."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from slm_lens.corpus.items import AnyItem, PairItem
from slm_lens.corpus.kinds.kind import ReadyItem, WorkT, require_context
from slm_lens.corpus.pairs import run_pair
from slm_lens.corpus.tables import ENGINES
from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.interventions.runs.measured_run import provenance_of_engine
from slm_lens.interventions.runs.patched_runs import Engine, engine_of
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence


def pair_of(model: HookedSLM, name: str, item: AnyItem, options: Any) -> RunPair:
    """The pair of an item.

    Args:
        model: the model.
        name: name of the item.
        item: a pair, with units in place of sound.
        options: of the kind, with ``match`` and ``policy``.

    Returns:
        The pair.
    """
    assert isinstance(item, PairItem)
    policy = options.policy or model.word_policy
    return run_pair(model, name, item, match=options.match, policy=policy)


def ready_alone(
    model: HookedSLM, position: int, name: str, runs: Sequence[SpeechTextSequence], work: WorkT
) -> ReadyItem[WorkT]:
    """An item whose copies fill the batches: it runs by itself.

    Args:
        model: the model.
        position: which item of the run.
        name: its name.
        runs: what the model reads of it, the clean run first.
        work: what the kind made of it.

    Returns:
        The item.

    Raises:
        ValueError: a run is longer than the model's context.
    """  # noqa: DOC502 (raised by require_context)
    for run in runs:
        require_context(len(run), model)
    words = runs[0].words
    return ReadyItem(
        position,
        name,
        max(map(len, runs)),
        work,
        n_words=len(words),
        words_without_positions=tuple(w.word for w in words if w.start == w.end),
        alone=True,
    )


def engine_facts(model: HookedSLM) -> dict[str, Any]:
    """Provenance of the two ways in which runs may be made.

    Which one it is, is known only once a run was made: one that does not resume as it was recorded
    is done anew as a whole. So the table ``engines`` says it of each item.

    Args:
        model: the model.

    Returns:
        Facts of the run.
    """
    fastest: Engine = engine_of(model)[0]
    return {
        "provenance": asdict(_provenance(model, fastest)),
        "whole_runs_provenance": asdict(_provenance(model, "whole runs")),
    }


def engine_table(name: str, engine: Engine, why: str) -> pl.DataFrame:
    """An item's row of the table ``engines``.

    Args:
        name: name of the item.
        engine: how its runs were made.
        why: why it is not the fastest.

    Returns:
        The row.
    """
    return pl.DataFrame([(name, engine, why)], schema=ENGINES, orient="row")


def _provenance(model: HookedSLM, engine: Engine) -> Any:
    provenance = provenance_of_engine(model, engine)
    assert provenance is not None  # a HookedSLM knows it
    return provenance
