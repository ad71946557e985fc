"""Errors that only running an item meets: that item is told, all others have their rows."""

from typing import Any, ClassVar

import polars as pl
import pytest

from slm_lens.corpus import session
from slm_lens.corpus.items import Item
from slm_lens.corpus.kinds.kind import ReadyItem
from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.run_config import run_config
from slm_lens.errors import RunError, VocabError

LINES = ("the zebra is", "the lion", "the desert is", "in", "the savanna", "striped zebra lives")


class Letters:
    """A kind that counts letters, many items at once; some words break whatever they run with."""

    holds: ClassVar[Any] = "clips"
    breaks_with: ClassVar[Exception] = VocabError("got a lion, expected none.")
    batches: ClassVar[list[list[str]]] = []

    def __init__(self, given):  # noqa: ARG002
        self.facts: dict[str, Any] = {}

    @classmethod
    def needs_words(cls, options):  # noqa: ARG003
        return False

    def ready(self, position, name, item):
        assert isinstance(item, Item)
        return ReadyItem(position, name, 2, item.text, alone=item.text == "in")

    def rows(self, batch):
        self.batches.append([x.work for x in batch])
        if any("lion" in x.work for x in batch):
            raise self.breaks_with
        return [{"words": pl.DataFrame({"name": [x.name], "n": [len(x.work)]})} for x in batch]


@pytest.fixture
def letters(monkeypatch):
    monkeypatch.setitem(session._KINDS, "phases", Letters)
    monkeypatch.setattr(Letters, "batches", [])
    return Letters


def config_of(tmp_path, **changes):
    (tmp_path / "lines.txt").write_text("\n".join(LINES))
    data = {"format": "text", "path": str(tmp_path / "lines.txt")}
    entries = {"model": {"name": "tiny"}, "data": data, "out": str(tmp_path / "run")}
    return run_config(entries | {"tokens_per_batch": 8} | changes)


def test_the_items_of_a_batch_that_fails_run_one_by_one(tiny_model, letters, tmp_path):
    run = run_corpus(config_of(tmp_path), model=tiny_model)
    # Items of two tokens, eight to a batch, and one that is a batch of its own.
    assert letters.batches == [
        [LINES[0], LINES[1], LINES[2]], [LINES[0]], [LINES[1]], [LINES[2]],
        [LINES[4], LINES[5]], [LINES[3]],
    ]  # fmt: skip
    lengths = {f"lines.txt:{i + 1}": len(x) for i, x in enumerate(LINES) if i != 1}
    assert run.words.collect().rows() == list(lengths.items())
    assert run.items.collect()["name"].to_list() == list(lengths)
    (error,) = run.errors.collect().rows(named=True)
    assert error == {
        "position": 1, "name": "lines.txt:2", "place": "lines.txt:2", "stage": "run",
        "error": "VocabError", "reason": "got a lion, expected none.",
    }  # fmt: skip


def test_strict_stops_at_the_item_that_fails(tiny_model, letters, tmp_path):  # noqa: ARG001
    with pytest.raises(RunError, match=r"item 'lines.txt:2' .* stage 'run': got a lion"):
        run_corpus(config_of(tmp_path, strict=True), model=tiny_model)


def test_errors_stand_in_the_order_of_the_data(tiny_model, letters, tmp_path):  # noqa: ARG001
    config = config_of(tmp_path, limits={"max_words": 2})
    errors = run_corpus(config, model=tiny_model).errors.collect()
    assert errors["stage"].to_list() == ["read", "run", "read", "read"]
    assert errors["position"].to_list() == [0, 1, 2, 5]


@pytest.mark.parametrize("error", [RunError("no item can be run so."), TypeError("ours")])
def test_other_errors_stop_the_run(tiny_model, letters, tmp_path, monkeypatch, error):
    monkeypatch.setattr(letters, "breaks_with", error)
    with pytest.raises(type(error), match=str(error)):
        run_corpus(config_of(tmp_path), model=tiny_model)
    assert len(letters.batches) == 1
