"""Items read and turned into units by threads, in the order of the data."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from slm_lens.corpus.dataset import ITEM_ERRORS, Dataset, ItemKey, printable
from slm_lens.corpus.items import AnyItem
from slm_lens.corpus.plan import RunPlan
from slm_lens.speech.units import UnitTokenizer

_LONGEST_REASON = 2000


@dataclass(frozen=True)
class ItemFailure:
    """Why an item has no rows.

    Attributes:
        position: which item of the run.
        name: its name.
        place: where it is in the data.
        stage: "name", "read", "units", "sequence" or "run".
        error: class of the error.
        reason: its message.
    """

    position: int
    name: str
    place: str
    stage: str
    error: str
    reason: str


class ItemReader:
    """Reads items ahead of the model.

    Args:
        data: the data set.
        plan: its items.
        tokenizer: makes units of sound; None for data without sound.
        n_readers: threads.
    """

    def __init__(
        self, data: Dataset, plan: RunPlan, tokenizer: UnitTokenizer | None, n_readers: int
    ) -> None:
        self._data, self._plan, self._tokenizer = data, plan, tokenizer
        self._pool = ThreadPoolExecutor(n_readers, thread_name_prefix="slm-lens-read")

    def begin(self, positions: Iterable[int]) -> list[Future[AnyItem | ItemFailure]]:
        """Start to read items.

        Args:
            positions: which items.

        Returns:
            What will come of each.
        """
        return [self._pool.submit(self._read, position) for position in positions]

    def close(self) -> None:
        """Stop reading; what was begun is waited for."""
        self._pool.shutdown(cancel_futures=True)

    def _read(self, position: int) -> AnyItem | ItemFailure:
        key = self._plan.key(position)
        if self._plan.is_repeated(position):
            reason = f"an earlier item is named {key.name!r} too, expected every name once."
            return ItemFailure(position, key.name, key.place, "name", "ValueError", reason)
        stage = "read"
        try:
            tokenizer = self._tokenizer
            rate_hz = None if tokenizer is None else tokenizer.sample_rate_hz
            item = self._data.read(key, sample_rate_hz=rate_hz)
            if tokenizer is not None:
                stage = "units"
                item = item.with_units(tokenizer)
        except ITEM_ERRORS as error:
            return failure_of(position, key, stage, error)
        return item


def failure_of(position: int, key: ItemKey, stage: str, error: BaseException) -> ItemFailure:
    """A row of the table of errors.

    Args:
        position: which item of the run.
        key: its key.
        stage: what was being done.
        error: what went wrong.

    Returns:
        The row.
    """
    reason = printable(str(error))[:_LONGEST_REASON] or type(error).__name__
    return ItemFailure(position, key.name, key.place, stage, type(error).__name__, reason)
