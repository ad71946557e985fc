"""What a kind of run has to say: how an item becomes the model's, and which rows it gives."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from slm_lens.corpus.items import AnyItem, Holds
from slm_lens.corpus.plan import RunPlan
from slm_lens.corpus.run_config import RunConfig
from slm_lens.corpus.run_folder import Content
from slm_lens.model.hooked import HookedSLM

WorkT = TypeVar("WorkT")


@dataclass(frozen=True, eq=False)
class ReadyItem(Generic[WorkT]):
    """An item that the model can run.

    Attributes:
        position: which item of the run.
        name: its name.
        n_tokens: tokens of its longest sequence, by which items are batched.
        work: what the kind made of it.
        n_words: words with times.
        words_without_positions: spoken words that no position carries.
        alone: whether it is a batch of its own, as one that fills batches itself.
    """

    position: int
    name: str
    n_tokens: int
    work: WorkT
    n_words: int = 0
    words_without_positions: tuple[str, ...] = ()
    alone: bool = False


@dataclass(frozen=True, eq=False)
class KindInput:
    """What a kind is made of.

    Attributes:
        model: the model.
        plan: all items, and their words if the kind needs them.
        config: the run's.
        items: reads every item that can be read, with its name, once more.
        settled: `Kind.facts` as the run's manifest has them; None if it begins.
    """

    model: HookedSLM
    plan: RunPlan
    config: RunConfig
    items: Callable[[], Iterator[tuple[str, AnyItem]]]
    settled: Mapping[str, Any] | None


@runtime_checkable
class Kind(Protocol[WorkT]):
    """Makes rows of items. What it gives for one depends on item, plan and config alone.

    Attributes:
        holds: what the items of its data are.
        facts: what its tables are besides their rows, as JSON has it.
    """

    holds: ClassVar[Holds]
    facts: dict[str, Any]

    @classmethod
    def needs_words(cls, options: Any) -> bool:
        """Whether items of a run with these options need word times."""
        ...

    def ready(self, position: int, name: str, item: AnyItem) -> ReadyItem[WorkT]:
        """An item as the model reads it; raises one of `ITEM_ERRORS` if it cannot."""
        ...

    def rows(self, batch: Sequence[ReadyItem[WorkT]]) -> list[dict[str, Content]]:
        """What each item of a batch gives to the tables of the kind.

        If it raises one of `ITEM_ERRORS`, the items of the batch run one by one, and those that
        raise again become rows of ``errors`` at the stage ``run``. A `RunError` stops the run: it
        says that no item can be run so.
        """
        ...


def require_context(n_tokens: int, model: HookedSLM) -> None:
    """Refuse a sequence that the model was not made for.

    Args:
        n_tokens: its length.
        model: the model.

    Raises:
        ValueError: it is longer than the context.
    """
    context = model.cfg.n_ctx
    if n_tokens > context:
        raise ValueError(
            f"got {n_tokens} tokens, expected at most the {context} of the model's "
            "context. Cut the clip into utterances."
        )
