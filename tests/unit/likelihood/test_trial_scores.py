"""Accuracies and margins of a table by hand, and the table as files."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from slm_lens.likelihood.trial_scores import CHANCE, SCHEMA, TrialScores
from slm_lens.model.provenance import Provenance

PROVENANCE = Provenance(
    "tiny", "by hand", "Qwen2", "float32", "sdpa", None, False, False, None, forward="fast"
)


def scores(*trials: Any) -> TrialScores:
    """Trials as name, part, and for each region right and wrong ``(n_tokens, sum_log_prob)``."""
    rows = [
        (name, part, side, region, *values)
        for name, part, by_region in trials
        for region, both in by_region.items()
        for side, values in zip(("right", "wrong"), both, strict=True)
    ]
    return TrialScores(pl.DataFrame(rows, SCHEMA, orient="row"), "full", PROVENANCE)


# By mean: right, wrong, tie (-2 and -2), right; by sum: wrong (longer), wrong, wrong, right.
BY_HAND = scores(
    ("a", "x", {"all": ((4, -6.0), (2, -4.0)), "completion": ((1, -3.0), (1, -2.0))}),
    ("b", "x", {"all": ((2, -6.0), (2, -5.0)), "completion": ((1, -1.0), (1, -2.0))}),
    ("c", "y", {"all": ((3, -6.0), (2, -4.0)), "completion": ((2, -1.0), (2, -1.0))}),
    ("d", "x", {"all": ((2, -1.0), (2, -9.0)), "completion": ((1, -1.0), (1, -2.0))}),
)


def rows(table: pl.DataFrame, *names: str) -> list[tuple]:
    return table.select(*names).rows()


def test_margins_by_hand():
    table = BY_HAND.margins()
    assert rows(table, "trial", "part", "right", "wrong", "margin") == [
        ("a", "x", -1.5, -2.0, 0.5),
        ("b", "x", -3.0, -2.5, -0.5),
        ("c", "y", -2.0, -2.0, 0.0),
        ("d", "x", -0.5, -4.5, 4.0),
    ]
    by_sum = BY_HAND.margins(norm="sum")
    assert by_sum["margin"].to_list() == [-2.0, -1.0, -2.0, 8.0]
    of_completions = BY_HAND.margins(region="completion")
    assert of_completions["margin"].to_list() == [-1.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("options", "by_part", "over_all"),
    [
        ({}, [2 / 3, 0.5], 2.5 / 4),
        ({"norm": "sum"}, [1 / 3, 0.0], 1 / 4),
        ({"region": "completion"}, [2 / 3, 0.5], 2.5 / 4),
    ],
)
def test_accuracies_by_hand(options, by_part, over_all):
    table = BY_HAND.accuracy(**options)
    assert table["part"].to_list() == ["x", "y"]
    assert table["estimate"].to_list() == pytest.approx(by_part)
    assert table["n_trials"].to_list() == [3, 1]
    whole = BY_HAND.accuracy(by=(), **options)
    assert whole.columns == ["estimate", "low", "high", "n_trials", "n_ties"]
    assert whole["estimate"].to_list() == pytest.approx([over_all])
    assert whole["n_trials"].to_list() == [4]


def test_ties_are_counted_and_worth_chance():
    assert BY_HAND.accuracy()["n_ties"].to_list() == [0, 1]
    assert BY_HAND.accuracy(norm="sum", by=())["n_ties"].to_list() == [0]
    ties = scores(*((str(i), "", {"all": ((3, -1.0), (3, -1.0))}) for i in range(5)))
    assert rows(ties.accuracy(), "estimate", "low", "high") == [(CHANCE, CHANCE, CHANCE)]
    assert ties.accuracy()["n_ties"].to_list() == [5]


class TestInterval:
    """Of n trials without ties a resample's wins are binomial with the share that was found."""

    def interval(self, n_wins, n_trials, n_ties=0, **options):
        margins = [1.0] * n_wins + [0.0] * n_ties
        margins += [-1.0] * (n_trials - len(margins))
        table = scores(
            *((str(i), "", {"all": ((1, m), (1, 0.0))}) for i, m in enumerate(margins))
        ).accuracy(**options)
        return table["low"][0], table["high"][0]

    def test_beside_scipy(self):
        expected = binom.ppf([0.025, 0.975], 100, 0.7) / 100
        found = self.interval(70, 100, n_bootstrap=20_000)
        assert np.abs(np.array(found) - expected).max() <= 0.01 + 1e-9  # one trial more or less

    def test_beside_drawn_trials(self):
        """With ties: 40 wins, 30 ties, 30 losses, drawn one by one with other random numbers."""
        worth = np.array([1.0] * 40 + [0.5] * 30 + [0.0] * 30)
        drawn = np.random.default_rng(7).choice(worth, size=(20_000, 100)).mean(1)
        expected = np.quantile(drawn, [0.025, 0.975])
        found = self.interval(40, 100, 30, n_bootstrap=20_000)
        assert np.abs(np.array(found) - expected).max() <= 0.005 + 1e-9

    def test_the_seed_draws_and_none_draws_nothing(self):
        some = {self.interval(33, 50, n_bootstrap=11, seed=seed) for seed in range(4)}
        assert len(some) > 1
        assert self.interval(33, 50, seed=3) == self.interval(33, 50, seed=3)
        assert self.interval(33, 50, n_bootstrap=0) == (None, None)


def test_a_trial_without_a_region_is_not_left_out_in_silence():
    mixed = scores(
        ("a", "", {"all": ((2, -1.0), (2, -2.0))}),
        ("b", "", {"completion": ((2, -1.0), (2, -2.0))}),
    )
    lacking: list[tuple[Any, str]] = [("completion", "a"), ("all", "b")]
    for region, name in lacking:
        match = rf"got region='{region}', which 1 of 2 trials do not have, such as \['{name}'\]"
        with pytest.raises(ValueError, match=match):
            mixed.accuracy(region=region)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"norm": "max"}, r"got norm='max' .* expected one of \('mean', 'sum'\) and one of"),
        ({"region": "prompt"}, r"region='prompt', expected .*\('all', 'completion'\)"),
        ({"by": ("trial",)}, r"got by=\('trial',\) .* expected by=\('part',\) or \(\)"),
        ({"n_bootstrap": -1}, r"n_bootstrap=-1, .* and 0 or more resamples"),
    ],
)
def test_unknown_options_are_refused(options: Any, match):
    with pytest.raises(ValueError, match=match):
        BY_HAND.accuracy(**options)


def test_what_is_read_is_what_was_written(tmp_path):
    BY_HAND.write(tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "trial_scores.json",
        "trial_scores.parquet",
    ]
    again = TrialScores.read(tmp_path / "new")
    assert again.table.equals(BY_HAND.table)
    assert again.table.schema == SCHEMA
    assert (again.within, again.provenance) == ("full", PROVENANCE)
    with pytest.raises(LookupError, match=r"TrialScores.read: no trial_scores.json"):
        TrialScores.read(tmp_path)
    path = tmp_path / "new" / "trial_scores.json"
    facts = json.loads(path.read_text())
    del facts["within"]
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"TrialScores.read: .* lacks \['within'\]"):
        TrialScores.read(tmp_path / "new")


def test_a_notebook_shows_the_table_with_nats_a_token():
    assert BY_HAND.to_frame()["mean_log_prob"].to_list()[:2] == [-1.5, -2.0]
    assert "<iframe" in BY_HAND._repr_html_()
