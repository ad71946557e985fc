"""The study ``knowledge``: a planted answer, models and pairings without one, tables by hand."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pytest
from planted import WORDS, planted_clips, planted_model, spoken
from planted_facts import MISHEARD, fact_items, mishearing_model
from scipy.stats import spearmanr

from slm_lens.report.study_page import report_study
from slm_lens.studies.correlations import shuffled_pairing
from slm_lens.studies.knowledge.accuracies import accuracy_table, gap_table
from slm_lens.studies.knowledge.across_models import across_models, over_models
from slm_lens.studies.knowledge.fact_items import FactItem
from slm_lens.studies.knowledge.findings import _verdict
from slm_lens.studies.knowledge.item_correlations import (
    bin_table,
    correlation_table,
    rank_bins,
)
from slm_lens.studies.knowledge.measured import ModelKnowledge, measure_model
from slm_lens.studies.knowledge.study import (
    Asked,
    KnowledgeOptions,
    knowledge_of,
    study_knowledge,
)
from slm_lens.studies.knowledge.transcription import Peak, transcription_peak
from slm_lens.studies.study_result import read_study
from slm_lens.views.study_figures import study_figures

HEADLINE = {"norm": "mean", "region": "completion"}


@pytest.fixture(scope="module")
def clips():
    return [spoken(c) for c in planted_clips(8)]


@pytest.fixture(scope="module")
def result(clips):
    """Half of the words are misheard, and exactly their facts are wrong."""
    counts = {w: i + 1 for i, w in enumerate(WORDS)}
    options = KnowledgeOptions(k=1, n_bootstrap=200)
    asked = [Asked(mishearing_model(), fact_items(), clips)]
    return knowledge_of(asked, options, word_counts=counts)


def rows(table: pl.DataFrame, **of: str) -> list[dict]:
    return table.filter(*(pl.col(k) == v for k, v in of.items())).to_dicts()


class TestPlanted:
    def test_exactly_the_facts_of_heard_words_are_right(self, result):
        items = result.frame("items").filter(
            model="mishearing", norm="mean", region="completion", setting="S->S"
        )
        misheard = {WORDS[w] for w in MISHEARD}
        assert len(items) == 24
        for row in items.iter_rows(named=True):
            is_heard = row["cluster"] not in misheard
            assert (row["subject"], row["correct"]) == (float(is_heard), float(is_heard))
            assert row["subject_word"] == row["cluster"]

    def test_the_correlation_is_1_and_shuffled_pairings_are_not(self, result):
        for statistic in ("point-biserial", "partial"):
            (row,) = rows(
                result.frame("correlations"),
                model="mishearing", words="subject", statistic=statistic,
            )  # fmt: skip
            assert [row["estimate"], row["low"], row["high"]] == pytest.approx([1, 1, 1])
            assert (row["n_items"], row["n_clusters"], row["n_left_out"]) == (24, 12, 0)
            assert row["shuffled_low"] < -0.4
            assert 0.4 < row["shuffled_high"] < 0.9
        (said,) = [f for f in result.findings if "subject being transcribed" in f]
        assert said.startswith("mishearing, S->S: positive correlation between the subject")
        assert "point-biserial 1.00 [1.00, 1.00]" in said
        assert "n = 24 items of 12 subjects" in said

    def test_spearman_is_that_of_scipy(self, result):
        items = result.frame("items").filter(model="mishearing", norm="mean", region="completion")
        (row,) = rows(
            result.frame("correlations"),
            model="mishearing", words="subject", statistic="Spearman with the margin",
        )  # fmt: skip
        by_scipy = spearmanr(items["subject"].to_numpy(), items["margin"].to_numpy())[0]
        assert row["estimate"] == pytest.approx(by_scipy)
        assert row["low"] > 0.5

    def test_half_of_the_words_are_transcribed_at_layer_2(self, result):
        (row,) = rows(result.frame("transcription"), model="mishearing")
        assert (row["peak_layer"], row["subjects_transcribed"], row["n_clips"]) == (2, 0.5, 8)
        assert row["recall"] == 0.5  # clips of six words in a row have three that are misheard
        assert row["shuffled_words"] < 0.2
        (row,) = rows(
            result.frame("accuracy"), model="mishearing", grouping="all", norm="mean", region="all"
        )
        assert (row["estimate"], row["n_items"], row["n_ties"]) == (0.5, 24, 0)

    def test_accuracy_by_rank(self, result):
        found = {r["ranks"]: r for r in rows(result.frame("bins"), model="mishearing")}
        assert found["1"]["estimate"] == 1
        assert found["1"]["n_items"] == 12
        assert found["1"]["shuffled_high"] < 1
        others = [r for label, r in found.items() if label != "1"]
        assert {r["estimate"] for r in others} == {0.0}
        assert sum(r["n_items"] for r in others) == 12

    def test_the_same_model_with_random_weights_finds_nothing(self, result):
        name = "mishearing, random weights"
        for row in rows(result.frame("correlations"), model=name, words="subject"):
            assert row["low"] is None or row["low"] < 0 < row["high"]

    def test_page_and_figures(self, result, tmp_path):
        page = report_study(result, tmp_path).read_text()
        assert "point-biserial 1.00 [1.00, 1.00]" in page
        assert "too few models: 1, at least 4 are needed" in page
        names = {p.name for p in tmp_path.iterdir()}
        assert {"knowledge.png", "items.png", "README.md", "correlations.parquet"} <= names
        assert "pairs.png" not in names  # none were asked
        charts = study_figures(read_study(tmp_path))
        facts, correlations = charts["knowledge"].rows[0]
        assert facts is not None
        assert correlations is not None
        assert [m.y for m in facts.marks][:1] == [0.5]
        assert [m.x for m in correlations.marks] == [pytest.approx(1.0)]
        assert {line.name for line in correlations.lines} >= {"95 % of shuffled pairings"}
        assert [r.at for r in facts.rules] == [0.5]


@pytest.mark.slow
@pytest.mark.usefixtures("untyped")
def test_null_models_seldom_have_a_correlation(clips):
    """20 models with random weights: their ranks of subjects have nothing to do with answers.

    With 12 words the percentile interval alone excludes 0 in about a tenth of null models (4 of
    40 in trials with other seeds), which is why a finding also has to leave the band of shuffled
    pairings. Of 20 models 5 % is 1; more than 3 has a probability of 0.02.
    """
    found, excluded, n_defined = 0, 0, 0
    for seed in range(20):
        model = planted_model(planted=False, seed=100 + seed, name="null")
        items = fact_items(2, seed=seed, n_others=1)
        one = measure_model(model, items, clips[:3], label="null", k=3, n_bootstrap=0, seed=seed)
        table = correlation_table([one], n_bootstrap=300, seed=seed, **HEADLINE)
        (row,) = rows(table, words="subject_nearness", statistic="point-biserial")
        if row["low"] is not None:
            n_defined += 1
            excluded += row["low"] > 0 or row["high"] < 0
            found += _verdict(row) in ("positive correlation", "negative correlation")
    print(f"{excluded} intervals exclude 0, {found} findings, of {n_defined} null models")  # noqa: T201
    assert n_defined >= 18
    assert found <= 3


@pytest.mark.slow
@pytest.mark.usefixtures("untyped")
def test_null_pairings_seldom_have_a_correlation(clips):
    """The planted answers, with the transcriptions of other words: 100 pairings.

    5 % is 5; more than 10 has a probability of 0.01. The interval alone excluded 0 in 10.5 % of 200
    pairings, and interval and band together in 4.5 %.
    """
    one = measure_model(mishearing_model(), fact_items(3), clips, label="x", k=1, n_bootstrap=0)
    cluster = np.unique(one.items["cluster"].to_numpy(), return_inverse=True)[1]
    found, excluded = 0, 0
    for seed, pairing in enumerate(shuffled_pairing(cluster, n_shuffles=100, seed=5)):
        heard = pl.Series("subject", one.items["subject"].to_numpy()[pairing])
        other = dataclasses.replace(one, items=one.items.with_columns(heard))
        table = correlation_table([other], n_bootstrap=300, seed=seed, **HEADLINE)
        (row,) = rows(table, words="subject", statistic="point-biserial")
        excluded += row["low"] > 0 or row["high"] < 0
        found += _verdict(row) in ("positive correlation", "negative correlation")
    print(f"{excluded} intervals exclude 0, {found} findings, of 100 pairings")  # noqa: T201
    assert found <= 10


def by_hand(
    correct: Mapping[str, Sequence[float]],
    subject: Sequence[float | None],
    cluster: list[str],
    *,
    name: str = "hand",
    ranks: list[int | None] | None = None,
    recall: float = 0.5,
    counts: list[float] | None = None,
) -> ModelKnowledge:
    """What a model gave, without a model: margins are ``correct - 0.5``."""
    n = len(subject)
    items = pl.DataFrame(
        {
            "item": [f"i{i}" for i in range(n)],
            "category": ["a", "b"] * (n // 2) + ["a"] * (n % 2),
            "exposure": [""] * n,
            "cluster": cluster,
            "subject": pl.Series(subject, dtype=pl.Float64),
            "subject_rank": ranks or [1 if s else 30 for s in subject],
            "subject_nearness": [None] * n,
            "content": [None] * n,
            "subject_log_count": counts or [None] * n,
            "content_log_count": [None] * n,
        },
        schema_overrides={"subject_log_count": pl.Float64, "content_log_count": pl.Float64},
    )
    margins = [
        {"item": f"i{i}", "margin": c - 0.5, "setting": s, "norm": norm, "region": region,
         "correct": float(c)}
        for s, values in correct.items()
        for norm in ("mean", "sum")
        for region in ("all", "completion")
        for i, c in enumerate(values)
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    peak = Peak(3, recall, None, None, 0.1, recall + rng.normal(0, 0.01, 50), 9, 2)
    provenance = planted_provenance()
    return ModelKnowledge(name, items, pl.DataFrame(margins), peak, provenance)


def planted_provenance():
    return planted_model(name="hand").provenance


class TestTables:
    def test_accuracy_counts_a_tie_as_a_half(self):
        one = by_hand({"S->S": [1, 0, 0.5, 1]}, [1, 0, 1, 0], ["a", "a", "b", "b"])
        table = accuracy_table([one], n_bootstrap=500, seed=0)
        (whole,) = rows(table, grouping="all", norm="sum", region="all")
        assert whole["estimate"] == 2.5 / 4
        assert (whole["n_items"], whole["n_clusters"], whole["n_ties"]) == (4, 2, 1)
        assert whole["chance"] == 0.5
        # Two clusters of the means 0.5 and 0.75: a resample has one, the other, or both.
        assert (whole["low"], whole["high"]) == (0.5, 0.75)
        parts = rows(table, grouping="category", norm="mean", region="completion")
        assert [(p["category"], p["estimate"]) for p in parts] == [("a", 0.75), ("b", 0.5)]
        assert not rows(table, grouping="exposure")

    def test_gaps_are_paired(self):
        one = by_hand(
            {"S->S": [1, 0, 0, 1], "T->T": [1, 1, 0.5, 1], "S->T": [1, 1, 0, 1]},
            [1, 0, 1, 0],
            list("abcd"),
        )
        table = gap_table([one], n_bootstrap=0, seed=0)
        found = {
            r["settings"]: (r["estimate"], r["low"], r["same_tokens_scored"])
            for r in rows(table, norm="mean", region="completion")
        }
        assert found == {
            "T->T minus S->S": (1.5 / 4, None, False),
            "T->T minus S->T": (0.5 / 4, None, True),
            "S->T minus S->S": (1 / 4, None, False),
        }
        assert not any(r["same_tokens_scored"] for r in rows(table, region="all"))

    def test_ties_are_left_out_of_right_and_wrong_but_not_of_margins(self):
        cluster = [f"c{i}" for i in range(12)]
        correct = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0.5, 0.5]
        subject = [1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1]
        one = by_hand({"S->T": correct}, subject, cluster)
        table = correlation_table([one], n_bootstrap=100, seed=0, **HEADLINE)
        found = {r["statistic"]: r for r in rows(table, words="subject")}
        # 4 both, 4 neither, 1 and 1: phi = (16 - 1) / 25.
        assert found["point-biserial"]["estimate"] == pytest.approx(0.6)
        assert (found["point-biserial"]["n_items"], found["point-biserial"]["n_left_out"]) == (
            10,
            2,
        )
        assert found["Spearman with the margin"]["n_items"] == 12
        assert found["partial"]["note"] == "no word counts"

    @pytest.mark.parametrize(
        ("correct", "subject", "note"),
        [
            ([1] * 8, [1, 0] * 4, "every answer is right"),
            ([0] * 8, [1, 0] * 4, "every answer is wrong"),
            ([1, 0] * 4, [1] * 8, "every subject is transcribed"),
            ([1, 0] * 4, [0] * 8, "no subject is transcribed"),
            ([1, 0] * 4, [1, 1] + [0] * 6, "2 subjects differ from the others, too few for an"),
            ([1, 0] + [0.5] * 6, [1, 0] * 4, "too few items"),
        ],
    )
    def test_a_number_that_is_missing_says_why(self, correct, subject, note):
        one = by_hand({"S->S": correct}, subject, [f"c{i}" for i in range(8)])
        table = correlation_table([one], n_bootstrap=50, seed=0, **HEADLINE)
        (row,) = rows(table, words="subject", statistic="point-biserial")
        assert row["note"].startswith(note)
        assert (row["low"], row["shuffled_low"]) == (None, None)
        assert _verdict(row).startswith("no ")

    def test_equal_word_counts_are_no_control(self):
        one = by_hand(
            {"S->S": [1, 0] * 5}, [1, 1, 0, 0, 1] * 2, [f"c{i}" for i in range(10)],
            counts=[2.0] * 10,
        )  # fmt: skip
        table = correlation_table([one], n_bootstrap=10, seed=0, **HEADLINE)
        (row,) = rows(table, words="subject", statistic="partial")
        assert row["note"] == "the word counts determine a side, or are all equal"

    def test_groups_of_ranks(self):
        assert [b[0] for b in rank_bins(5)] == ["1", "2-5", "6-20", ">20"]
        assert [b[0] for b in rank_bins(1)] == ["1", "2-4", ">4"]
        one = by_hand(
            {"S->S": [1, 1, 0, 0, 1]}, [1, 1, 0, 0, None], list("abcde"), ranks=[1, 5, 6, 21, None]
        )
        found = bin_table([one], k=5, n_bootstrap=50, seed=0, **HEADLINE)
        assert [(r["ranks"], r["estimate"], r["n_items"]) for r in found.iter_rows(named=True)] == [
            ("1", 1, 1), ("2-5", 1, 1), ("6-20", 0, 1), (">20", 0, 1),
        ]  # fmt: skip
        assert found["low"].is_null().all()  # of one subject each
        assert found["shuffled_high"].to_list() == [1.0] * 4


class TestOverModels:
    def test_four_models_by_hand(self):
        """Recall 0.1 to 0.4, accuracies 1/4, 3/4, 2/4, 4/4: ranks 1 3 2 4, so Spearman is 0.8."""
        given = [[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
        models = [
            by_hand({"S->S": g}, [1, 0, 1, 0], list("abcd"), name=f"m{i}", recall=0.1 * (i + 1))
            for i, g in enumerate(given)
        ]
        table = across_models(models, n_bootstrap=50, seed=0, **HEADLINE)
        pearson, spearman = table.to_dicts()
        by_numpy = np.corrcoef([1, 2, 3, 4], [1, 3, 2, 4])[0, 1]
        assert pearson["estimate"] == pytest.approx(by_numpy)
        assert spearman["estimate"] == pytest.approx(0.8)
        assert (pearson["n_models"], pearson["n_items"], pearson["note"]) == (4, 4, "")
        assert -1 <= pearson["low"] < pearson["high"] <= 1
        assert pearson["n_resamples"] <= 50

    def test_fewer_models_give_no_number(self):
        models = [by_hand({"S->S": [1, 0]}, [1, 0], ["a", "b"], name=f"m{i}") for i in range(3)]
        table = across_models(models, n_bootstrap=50, seed=0, **HEADLINE)
        assert table["estimate"].is_null().all()
        assert table["note"].unique().to_list() == ["too few models: 3, at least 4 are needed"]

    def test_models_that_are_alike_have_none(self):
        same = np.ones((3, 4))
        assert over_models(same, np.arange(12.0).reshape(3, 4), is_ranked=False, seed=0) == (
            None, None, None, 0,
        )  # fmt: skip

    def test_resamples_draw_models(self):
        """Two models whose order is the same in all rows: what is defined is exactly 1."""
        x = np.tile(np.array([0.0, 1.0, 1.0, 1.0]), (401, 1))
        estimate, low, high, n_defined = over_models(x, 2 * x, is_ranked=True, seed=0)
        assert (estimate, low, high) == pytest.approx((1, 1, 1))
        # A draw holds both kinds unless all four are of one: 1 - (1/4)^4 - (3/4)^4 = 0.68.
        assert n_defined / 400 == pytest.approx(0.68, abs=0.07)


class TestRefusals:
    def test_items(self, clips):
        model = planted_model()
        items = fact_items(1)
        with pytest.raises(ValueError, match=r"got 0 items with repeated names \[\]"):
            measure_model(model, [], clips, label="m")
        with pytest.raises(ValueError, match=r"2 items with repeated names \['zebra 0'\]"):
            measure_model(model, [items[0], items[0]], clips, label="m")
        other = dataclasses.replace(items[1], trials={"T->T": items[1].trials["S->S"]})
        with pytest.raises(ValueError, match=r"other settings than \['S->S'\], such as 'river 0'"):
            measure_model(model, [items[0], other], clips, label="m")
        with pytest.raises(ValueError, match=r"subject=9 for a spoken prompt of 3 words"):
            dataclasses.replace(items[0], subject=9)
        with pytest.raises(ValueError, match=r"trials of \[\] and subject=None"):
            FactItem("a", "", "a", {})

    def test_clips_without_a_word_that_can_be_read(self):
        model = planted_model()
        clip = spoken(planted_clips(1)[0])
        words = tuple(dataclasses.replace(w, word="the") for w in clip.sequence.words)
        nothing = dataclasses.replace(
            clip, sequence=dataclasses.replace(clip.sequence, words=words)
        )
        twice = [nothing, dataclasses.replace(nothing, name="again")]
        with pytest.raises(ValueError, match=r"none of the content words of 2 clips has a token"):
            transcription_peak(model, twice, k=1, n_bootstrap=0, seed=0)

    def test_options(self):
        with pytest.raises(ValueError, match=r"got k=0 and n_bootstrap=1000"):
            KnowledgeOptions(k=0)
        with pytest.raises(
            ValueError, match=r"got the columns \['category'\] with data='organism'"
        ):
            study_knowledge([planted_model()], KnowledgeOptions(category_column="kind"))
        with pytest.raises(ValueError, match=r"has no tokens for .* expected an organism"):
            study_knowledge([planted_model()], KnowledgeOptions())
