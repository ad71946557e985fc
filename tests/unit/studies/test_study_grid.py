"""The organism grid: planted cells, null cells, and its statistics by hand."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from planted import PREDICTS, TRANSCRIBES, WORDS, planted_clips, planted_model, spoken, written

from slm_lens.likelihood.score_trials import score_trials
from slm_lens.likelihood.trial import Trial
from slm_lens.organism.answer_trials import AnswerTrials
from slm_lens.organism.grid import GridCell
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.studies.grid.comparison import (
    CONTRASTS,
    Estimate,
    cell_estimate,
    run_estimate,
    verdict,
)
from slm_lens.studies.grid.hits import Hits, fact_hits, word_hits
from slm_lens.studies.grid.study import GridOptions, measure_run, study_grid
from slm_lens.studies.grid.tables import GridTables, Run, Snapshot
from slm_lens.studies.phase_study import study_phases
from slm_lens.studies.study_result import StudyResult, read_study

OPTIONS = GridOptions(k=1, n_draws=5, n_bootstrap=500)
CLIPS = planted_clips(20)
UTTERANCES = [spoken(c) for c in CLIPS]
NULLS = 20


def cell(group: str, seed: int = 0) -> GridCell:
    init, data = group.split("-")
    return GridCell(init=init, data=data, seed=seed)  # type: ignore[arg-type]


def trials_of_words(shift: int) -> tuple[Trial, ...]:
    """A written word, then the one that follows it or the one after that, by the name of a fact."""

    def two_words(first: int, second: int) -> SpeechTextSequence:
        pair = written(replace(CLIPS[0], words=(first % len(WORDS), second % len(WORDS))))
        return pair.sequence

    return tuple(
        Trial(
            f"{w}|{w + 2}", "spoken", two_words(w + shift, w + 1), two_words(w + shift, w + 2), 2, 2
        )
        for w in range(len(WORDS))
    )


TRIALS = {"spoken": AnswerTrials(trials_of_words(0), trials_of_words(5))}


@pytest.fixture(scope="module")
def planted():
    return measure_run(planted_model(), UTTERANCES, TRIALS, OPTIONS)


@pytest.fixture(scope="module")
def nulls():
    models = (planted_model(planted=False, seed=s) for s in range(NULLS))
    return [measure_run(m, UTTERANCES, TRIALS, OPTIONS) for m in models]


def test_the_planted_layers_are_found(planted):
    current, following, facts = planted
    assert current.layers == (TRANSCRIBES, TRANSCRIBES)
    assert following.layers == (PREDICTS, PREDICTS)
    assert current.values.all()
    assert following.values.all()
    assert facts.values.all()  # the model's text goes round the circle of words
    assert facts.control.mean() < 0.8  # after a word five before, it favours neither
    assert len(current.values) == sum(len(c.words) for c in CLIPS)
    assert len(following.values) == sum(len(c.words) - 1 for c in CLIPS)


@pytest.mark.slow
def test_planted_factors_are_needed_and_equal_cells_do_not_differ(planted, nulls):
    runs = [
        Run(cell("text-interleaved", 0), planted),
        Run(cell("text-interleaved", 1), planted),
        Run(cell("random-interleaved"), nulls[0]),
        Run(cell("text-balanced"), nulls[1]),
        Run(cell("text-speech"), nulls[1]),
    ]
    frame = GridTables(runs, [], n_bootstrap=500, seed=0).contrasts()
    found = {(r["factor"], r["measure"]): r for r in frame.iter_rows(named=True)}
    for factor in ("text init (interleaved data)", "interleaving (text init)"):
        row = found[factor, "current_word_recall"]
        assert row["verdict"] == "needed"
        assert row["difference"] > 0.5
        assert (row["n_seeds_with"], row["n_seeds_without"]) == (2, 1)
    row = found["written documents (text init)", "current_word_recall"]
    assert (row["verdict"], row["difference"]) == ("no difference shown", 0.0)


@pytest.mark.slow
def test_null_models_are_seldom_above_their_control(nulls):
    """A share of 0.025 is nominal; the binomial 99.9 % bound of 40 draws is 6."""
    above = 0
    for hits in nulls:
        for measure in hits[:2]:
            low, _ = run_estimate(measure.excess, measure, n_bootstrap=500, seed=1).interval()
            above += low is not None and low > 0
    assert above <= 6, f"{above} of {2 * NULLS}"


@pytest.mark.slow
def test_two_null_cells_seldom_differ(nulls):
    """10 pairs, 2 measures; the nominal share of any verdict is at most 0.05."""
    told = []
    for one, other in zip(nulls[::2], nulls[1::2], strict=True):
        runs = [Run(cell("text-interleaved"), one), Run(cell("text-balanced"), other)]
        frame = GridTables(runs, [], n_bootstrap=500, seed=0).contrasts()
        words = frame.filter(pl.col("measure").str.ends_with("recall"))
        told += words["verdict"].to_list()
    assert told.count("no difference shown") >= len(told) - 5, told
    assert "helps" not in told


def test_estimates_by_hand():
    hits = Hits("m", np.array([1.0, 0.0, 1.0, 1.0]), np.zeros(4), np.array([0, 0, 1, 1]), 2)
    estimate = run_estimate(hits.values, hits, n_bootstrap=4000, seed=0)
    assert estimate.value == 0.75
    # Two clusters of means 0.5 and 1: 1/4, 1/2 and 1/4 of resamples hold 0.5, 0.75 and 1.
    shares = [(np.isclose(estimate.resamples, v)).mean() for v in (0.5, 0.75, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert estimate.interval() == (0.5, 1.0)
    crossed = replace(hits, word=np.array([0, 1, 0, 1]))
    both = run_estimate(hits.values, crossed, n_bootstrap=4000, seed=0).resamples
    # Words 0 and 1 are right in both clusters and in the second: words are independent of clusters.
    shares = [np.isclose(both, v).mean() for v in (0.0, 0.5, 0.75, 1.0)]
    # 1/4 of the draws of words hold the first one alone (all right), 1/4 the second alone (as many
    # right as draws of the second cluster: 0, 1/2 or 1), the rest are as above.
    assert shares == pytest.approx([1 / 16, 1 / 4, 1 / 4, 7 / 16], abs=0.03)
    two = cell_estimate([Estimate(0.0, np.zeros(4000)), Estimate(1.0, np.ones(4000))], seed=0)
    assert two.value == 0.5
    assert [(two.resamples == v).mean() for v in (0.0, 0.5, 1.0)] == pytest.approx(
        [0.25, 0.5, 0.25], abs=0.03
    )


def known(value: float, spread: float = 0.01) -> Estimate:
    return Estimate(value, value + spread * np.linspace(-1, 1, 201))


@pytest.mark.parametrize(
    ("with_it", "without", "expected"),
    [(0.5, 0.0, "needed"), (0.5, 0.2, "helps"), (0.2, 0.5, "hurts"),
     (0.5, 0.5, "no difference shown"), (-0.2, -0.5, "no difference shown")],
)  # fmt: skip
def test_verdicts(with_it, without, expected):
    one, other = known(with_it), known(without)
    # Independent draws, or the difference would have no spread.
    difference = Estimate(one.value - other.value, one.resamples - other.resamples[::-1])
    assert verdict(one, other, difference) == expected
    silent = Estimate(0.1, np.zeros(0))
    assert verdict(silent, silent, silent) == "no interval"


def test_outcomes_of_facts_by_hand():
    scores = score_trials(planted_model(), TRIALS["spoken"].trials, progress=False)
    rows = scores.table
    by_hand = rows.with_columns(
        sum_log_prob=pl.when(pl.col("side") == "right")
        .then(pl.col("trial").str.split("|").list.first().cast(pl.Float64) % 3 - 1)
        .otherwise(0.0)
    )
    hits = fact_hits(replace(scores, table=by_hand), scores, "facts")
    by_name = dict(zip(sorted(str(w) for w in range(len(WORDS))), range(len(WORDS)), strict=True))
    order = [int(t.name.split("|")[0]) for t in TRIALS["spoken"].trials]
    # Margins -1, 0, 1 in turn: the wrong one, a tie, the right one.
    assert hits.values.tolist() == [(w % 3) / 2 for w in order]
    assert hits.cluster.tolist() == [by_name[str(w)] for w in order]
    fewer = replace(scores, table=rows.filter(pl.col("trial") != "0|2"))
    with pytest.raises(ValueError, match="got 12 trials and 11 of the control"):
        fact_hits(scores, fewer, "facts")


def test_result_page_and_figures(tmp_path, planted, nulls):
    from slm_lens.report.study_page import report_study

    runs = [Run(cell("text-interleaved", s), planted) for s in (0, 1)]
    runs += [Run(cell("random-interleaved"), nulls[0]), Run(cell("text-balanced"), nulls[1])]
    snapshots = [Snapshot(cell("text-interleaved"), n, planted) for n in (0, 100)]
    tables = GridTables(runs, snapshots, n_bootstrap=50, seed=0)
    model = planted_model()
    result = StudyResult(
        "grid", tables.findings(), tables.tables(), {"planted": model.provenance}, {"k": 1}
    )
    page = report_study(result, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "current word recall, text init (interleaved data): needed." in text
    assert "![Recall of the current" in text
    assert (tmp_path / "grid.png").stat().st_size > 10_000
    again = read_study(tmp_path)
    assert again.findings == result.findings
    assert again.frame("trajectory").equals(result.frame("trajectory"))
    assert again.provenance == result.provenance
    assert set(CONTRASTS) >= set(again.frame("contrasts")["factor"])


def test_misuse(planted):
    with pytest.raises(ValueError, match=r"got k=0.*expected at least"):
        GridOptions(k=0)
    with pytest.raises(ValueError, match=r"each seed of a\s+cell once"):
        GridTables([Run(cell("text-speech"), planted)] * 2, [], n_bootstrap=0, seed=0)
    with pytest.raises(LookupError, match=r"no card\.json that names its cell"):
        study_grid([planted_model(name=".")], OPTIONS)
    words = study_phases(
        planted_model(), UTTERANCES[:2], policy="whole_word", n_draws=0, n_bootstrap=0
    ).words
    with pytest.raises(ValueError, match="without control words"):
        word_hits(words, "current", k=1)


def test_a_study_that_is_not_what_it_says(tmp_path):
    with pytest.raises(LookupError, match=r"no study\.json"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"study": "grid"}), encoding="utf-8")
    with pytest.raises(ValueError, match="not what this version"):
        read_study(tmp_path)
    facts = {"study": "grid", "findings": [], "provenance": {}, "settings": {},
             "tables": {"runs": {"caption": "c", "on_page": True}}}  # fmt: skip
    (tmp_path / "study.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(LookupError, match=r"runs\.parquet"):
        read_study(tmp_path)
