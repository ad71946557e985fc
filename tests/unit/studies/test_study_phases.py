"""The study ``phases`` finds what was planted, and nothing where nothing is."""

import math
import sys
from dataclasses import replace

import polars as pl
import pytest
from planted import (
    N_LAYERS,
    PREDICTS,
    RETURNS,
    TRANSCRIBES,
    WORDS,
    planted_clips,
    planted_model,
    spoken,
)

from slm_lens import (
    ERROR_CLASSES,
    StudyTable,
    measure_phases,
    read_study,
    report_study,
    study_figures,
    word_lens,
)
from slm_lens.errors import VocabError
from slm_lens.studies.phases.headline import Target, claim_of
from slm_lens.studies.phases.options import PhasesAcrossOptions
from slm_lens.studies.phases.reading import Reading, read_words
from slm_lens.studies.phases.study import compare_phases, study_phases_across

QUICK = PhasesAcrossOptions(n_draws=10, n_permutations=199, n_shuffles=100, n_bootstrap=200)
CLIPS = tuple(spoken(c) for c in planted_clips(8))
FEW = CLIPS[:3]
N_ALL, N_NEXT = 6 * len(CLIPS), 5 * len(CLIPS)  # the last of six words has none after it


def run(models, options=QUICK, clips=CLIPS):
    return compare_phases(models, {m.provenance.name: clips for m in models}, options)


@pytest.fixture(scope="module")
def models():
    return [planted_model(), planted_model(planted=False, name="null")]


@pytest.fixture(scope="module")
def found(models):
    return run(models)


def test_the_planted_phases_are_found(found):
    layers = found.frame("phase_layers").filter(model="planted")
    at = {row["phase"]: row for row in layers.iter_rows(named=True)}
    expected = {"current word": TRANSCRIBES, "next word": PREDICTS, "return to speech": RETURNS,
                "next minus current": PREDICTS - TRANSCRIBES}  # fmt: skip
    for phase, layer in expected.items():
        row = at[phase]
        assert (row["layer"], row["low"], row["high"]) == (layer,) * 3
        assert row["depth"] == pytest.approx(layer / N_LAYERS)
    assert at["current word"]["above_controls"]
    assert at["next word"]["above_controls"]
    assert [at[p]["n_words"] for p in expected] == [N_ALL, N_NEXT, N_ALL, N_ALL]
    heads = found.frame("headline").filter(model="planted")
    assert heads["recall"].to_list() == [1.0] * 12
    best = heads.filter(pl.col("k") < 10)  # ten of twelve tokens are easily met elsewhere, too
    for measure, layer in (("current_word_recall", TRANSCRIBES), ("next_word_recall", PREDICTS)):
        assert set(best.filter(measure=measure)["layer"]) == {layer}
    first = heads.row(by_predicate=(pl.col("k") == 1) & (pl.col("vocab") == "text")
                      & (pl.col("pool") == "max"), named=True)  # fmt: skip
    assert first["shuffled"] == first["frequency_matched"] == 0  # one token alone is highest
    assert first["excess_low"] == first["excess_high"] == first["any_layer"] == 1
    assert first["p"] == pytest.approx(1 / 200)
    assert (first["n_words"], first["n_types"], first["n_utterances"]) == (N_ALL, 12, len(CLIPS))
    claims = [f for f in found.findings if f.startswith("planted:")]
    assert "transcription above its controls" in claims[0]
    assert "prediction above its controls" in claims[1]
    assert "the next word peaks after the spoken one: layer 4 less layer 2 of 6 is 2 [2, 2]; from "\
        "layer 6 on speech has most of the mass" in claims[2]  # fmt: skip


def test_the_classes_of_tokens_are_those_that_were_planted(found):
    errors = found.frame("errors").filter(model="planted")
    share = {(r["layer"], r["class"]): r for r in errors.iter_rows(named=True)}
    exact, following = share[TRANSCRIBES, "exact"], share[PREDICTS, "next word"]
    for row in (exact, following):
        assert (row["share"], row["low"], row["high"], row["n_words"]) == (1.0, 1.0, 1.0, N_NEXT)
        assert row["control"] < 0.2
        assert row["excess_low"] > 0.7
        assert row["p"] == pytest.approx(1 / 101)
    assert {r["p_highest"] for r in errors.filter(pl.col("class") == "exact").to_dicts()} == {
        1 / 101
    }
    # The planted model makes no errors of a degree at its peak, and none is claimed anywhere.
    said = next(f for f in found.findings if f.startswith("planted: at layer 2"))
    assert "none is more frequent than with permuted words" in said
    assert share[TRANSCRIBES, "exact"]["control"] == 0  # a permuted word is never itself
    for layer in range(N_LAYERS + 1):
        for column in ("share", "control"):
            whole = sum(share[layer, c][column] for c in ERROR_CLASSES)
            assert whole == pytest.approx(1.0)


def test_recall_at_1_is_the_share_of_exact_tokens_when_a_word_is_one_token(found):
    """Two ways to one number: ranks of targets, and the spelling of the highest token."""
    for model in ("planted", "null"):
        curve = found.frame("curves").filter(
            model=model, measure="current_word_recall", control="none", vocab="text", pool="max",
            k=1,
        )  # fmt: skip
        exact = found.frame("errors").filter(pl.col("class") == "exact", model=model)
        n_exact = (exact["share"] * N_NEXT).round()
        n_hits = (curve.sort("layer")["estimate"] * N_ALL).round()
        # The last word of each clip is in the recall alone.
        assert ((n_hits - n_exact) >= 0).all()
        assert ((n_hits - n_exact) <= len(CLIPS)).all()


def test_the_example_is_what_the_layers_say(found):
    first = found.frame("example").row(0, named=True)
    said = CLIPS[0].sequence.words[0].word
    after = WORDS[(WORDS.index(said) + 1) % len(WORDS)]
    assert first["word"] == said
    assert first["n_positions"] == 3
    assert first[f"layer {TRANSCRIBES}"] == f"{said} (exact)"
    assert first[f"layer {PREDICTS}"] == f"{after} (next word)"
    grid = found.frame("grid").filter(model="planted", word_index=0, layer=TRANSCRIBES)
    assert grid["token"].item() == said
    assert grid["class"].item() == "exact"


def test_an_example_may_be_named_and_resamples_left_out(models, found):
    named = run(models[:1], replace(QUICK, example="clip 2", n_bootstrap=0), FEW)
    assert set(named.frame("grid")["utterance"]) == {"clip 2"}
    assert set(found.frame("grid")["utterance"]) == {"clip 0"}
    with pytest.raises(ValueError, match=r"got example='clip 99', expected the name of a clip"):
        run(models[:1], replace(QUICK, example="clip 99"), FEW)
    # Neither is anything claimed without resamples.
    one = named
    assert "no transcription that is above its controls can be claimed without" in one.findings[0]
    assert one.frame("headline")["low"].null_count() == 12
    assert "no order of phases is claimed" in one.findings[2]
    assert "[" not in "".join(one.findings)  # no interval anywhere


@pytest.mark.slow
def test_untrained_models_are_said_to_do_nothing():
    """20 models, of which 5 % may be above by chance; 4 clips that hold all twelve words.

    Resampled utterances alone err: a model that knows 12 words hits each of them always or never.
    """
    targets: tuple[Target, ...] = ("current", "next")
    held, interval_alone = dict.fromkeys(targets, 0), 0
    options = replace(QUICK, n_permutations=99, n_bootstrap=100, n_draws=5)
    for seed in range(20):
        model = planted_model(planted=False, seed=seed)
        clips = [spoken(c) for c in planted_clips(4, n_words=12, seed=seed)]
        table = word_lens(
            model, clips, function_words=frozenset(), policy="whole_word", n_draws=5, seed=seed
        )
        phases = measure_phases(table, n_bootstrap=0)
        read = Reading(model, table, phases, read_words(model, clips, table, options))
        for target in targets:
            claim = claim_of(read, options, target)
            assert claim is not None
            held[target] += claim.holds
            interval_alone += claim.excess[1] > 0
    assert max(held.values()) <= 3  # P(more than 3 of 20 at 5 %) = 0.016
    assert interval_alone >= 20  # of 40


@pytest.mark.slow
def test_letters_stand_for_phonemes_only_if_they_are_asked_for(models, monkeypatch):
    import ctypes.util

    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(ImportError, match=r"phonemes needs espeak-ng: pip install 'slm-lens\[syn"):
        run(models[:1])
    by_letters = run(models[:1], replace(QUICK, sounds="letters", n_bootstrap=0), FEW)
    assert set(by_letters.frame("chance")["alike"]) == {"letters", "unembedding"}
    assert "(letters within 0.4" in by_letters.findings[-1]


def test_chance_is_counted_by_hand(found):
    """At the planted peak every token is the word, which never counts as one that sounds alike."""
    from slm_lens import phoneme_distance, phonemes

    chance = found.frame("chance").filter(model="planted", alike="phonemes")
    assert chance["share"].to_list() == [0.0] * 4
    assert chance["limit"].to_list() == [0.2, 0.3, 0.4, 0.5]
    assert chance.filter("used")["limit"].to_list() == [0.4]
    sounds = phonemes(WORDS)
    pairs = [(a, b) for a in WORDS for b in WORDS if a != b]
    for limit, by_chance in chance.select("limit", "chance").iter_rows():
        near = sum(phoneme_distance(sounds[a], sounds[b]) <= limit for a, b in pairs)
        # 20 permutations of 12 words: the mean over pairs, give or take.
        assert by_chance == pytest.approx(near / len(pairs), abs=0.03)


def test_the_other_rows_may_make_neighbours(models):
    options = replace(QUICK, neighbours_by="embedding", n_neighbours=2, n_bootstrap=0, words="all")
    by_embedding = run(models[:1], options, FEW)
    chance = by_embedding.frame("chance").filter(alike="embedding")
    assert chance["limit"].to_list() == [1, 2, 5, 10, 20]
    assert chance.filter("used")["limit"].to_list() == [2]
    assert chance.filter(limit=20)["chance"].item() == 1.0  # all eleven others


@pytest.mark.slow
def test_the_page_and_the_figures_are_written(found, tmp_path):
    figures = study_figures(found)
    assert list(figures) == ["phases", "models", "modality", "errors", "example"]
    page = report_study(found, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "**phase_layers.**" in text
    assert "planted: transcription above its controls" in text
    assert all((tmp_path / f"{name}.png").stat().st_size > 10_000 for name in figures)
    assert read_study(tmp_path).findings == found.findings


def test_there_may_be_more_models_than_inks(found):
    """Six more, as copies of the tables of one."""
    names = ["planted", "null", *(f"null {i}" for i in range(1, 6))]
    tables = {
        name: StudyTable(
            pl.concat([
                table.frame.filter(model="planted" if n == "planted" else "null")
                .with_columns(model=pl.lit(n)) for n in names
            ]) if "model" in table.frame.columns else table.frame,
            table.caption,
        )
        for name, table in found.tables.items()
    }  # fmt: skip
    provenance = {n: found.provenance["planted"] for n in names}
    figures = study_figures(replace(found, tables=tables, provenance=provenance))
    assert len(figures["phases"].rows) == len(figures["errors"].rows) == 7
    assert len(figures["models"].panels[0].y.names or ()) == 7
    assert len(figures["example"].rows) == 4
    assert "Not drawn: null 3, null 4, null 5." in figures["example"].description


def test_figures_show_every_control(found):
    figures = study_figures(found)
    lines = {line.name for line in figures["phases"].panels[0].lines}
    for target in ("current", "next"):
        assert lines >= {f"{target} word, {c}" for c in
                         ("shuffled", "frequency matched", "random weights")}  # fmt: skip
    assert [r.at for r in figures["modality"].panels[0].rules] == pytest.approx([12 / 50, 36 / 50])
    words, control = figures["errors"].panels[:2]
    assert band_end(words, "exact", TRANSCRIBES) == 1.0
    assert band_end(control, "exact", TRANSCRIBES) == 0.0
    crossed = [m for m in figures["models"].panels[0].marks if m.ink.marker == "cross"]
    assert len(crossed) == 2
    assert all(m.y < -0.5 for m in crossed)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_draws": 0}, "n_draws=0"),
        ({"n_permutations": 0}, "n_permutations=0"),
        ({"n_shuffles": 0}, "n_shuffles=0"),
        ({"n_neighbours": 0}, "n_neighbours=0"),
        ({"n_bootstrap": -1}, "n_bootstrap=-1"),
        ({"n_clips": 1}, "n_clips=1"),
        ({"most_distant": 1.0}, "most_distant=1.0"),
    ],
)
def test_options_out_of_range_are_refused(wrong, said):
    with pytest.raises(ValueError, match=rf"got {said}.*, expected at least"):
        PhasesAcrossOptions(**wrong)


def test_a_model_without_text_or_without_written_tokens_is_refused(models, monkeypatch):
    model = models[0]
    monkeypatch.setattr(model, "vocab", replace_vocab(model.vocab, labels={}))
    with pytest.raises(ValueError, match=r"does not know how its text tokens are written, expecte"):
        run([model], QUICK, FEW)


def test_too_few_words_are_refused(models):
    clips = [spoken(replace(c, words=c.words[:1])) for c in planted_clips(3)]
    with pytest.raises(ValueError, match=r"0 words of 'planted' count and have a word after them"):
        run(models[:1], QUICK, clips)


def test_a_unit_only_model_is_refused_before_its_clips_are_read(models, monkeypatch):
    vocab = models[1].vocab
    unit_only = replace_vocab(vocab, text=(), padding=range(len(WORDS)), labels={})
    monkeypatch.setattr(models[1], "vocab", unit_only)
    with pytest.raises(VocabError, match=r"study 'phases': the model 'null' .*has no text token"):
        study_phases_across([models[1]], QUICK)


def band_end(panel, name, layer):
    (line,) = (x for x in panel.lines if x.name == name)
    return line.high[layer]


def replace_vocab(vocab, **changes):
    from slm_lens.vocab import SpeechTextVocab

    own = ("d_vocab", "text", "streams", "markers", "specials", "padding", "encode_text", "labels")
    return SpeechTextVocab(**({n: getattr(vocab, n) for n in own} | changes))


def test_numbers_of_the_page_are_finite(found):
    heads = found.frame("headline").select(pl.selectors.float())
    assert all(v is None or math.isfinite(v) for row in heads.iter_rows() for v in row)
