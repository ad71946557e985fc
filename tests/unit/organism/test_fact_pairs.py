"""Pairs of facts: what is said, in which voice, what counts as the answer, what is left out."""

import numpy as np
import pytest
import torch

import slm_lens
from slm_lens.organism.corpus import TRAINING_VOICES, draw_voice, speak_sentences, to_spoken_story
from slm_lens.organism.fact_runs import FactRuns
from slm_lens.organism.language import facts
from slm_lens.organism.pair_counts import SETTINGS, pair_counts
from slm_lens.organism.pairs import organism_pairs
from slm_lens.speech.synthesis import EspeakSynthesizer, Voice

VOICE = Voice("en-us", rate_wpm=150)
WEATHER, HOME = ("weather",), ("home",)


@pytest.fixture(scope="module")
def organism():
    return slm_lens.load("organism")


@pytest.fixture(scope="module")
def ids(organism):
    return organism.tokenizer.get_vocab()


@pytest.fixture(scope="module")
def heard(organism):
    """Spoken by the corpus' own code: words, units, spans."""
    synthesizer = EspeakSynthesizer()

    def hear(text, voice=VOICE):
        clip = speak_sentences(synthesizer, [text], voice, organism.unit_tokenizer.sample_rate_hz)
        return to_spoken_story(clip, organism.unit_tokenizer)

    return hear


def fact_of(relation, subject):
    return next(f for f in facts() if (f.relation, f.subject) == (relation, subject))


def test_a_spoken_prompt_is_cut_where_the_word_behind_it_begins(organism, ids, heard):
    story = heard("the forest is muddy")
    units = (story.units[: story.spans[2][1]].astype(int) + ids["<Un0>"]).tolist()
    runs = FactRuns(organism)
    to_text = runs.run("the forest is", "speech", "text", VOICE, "muddy")
    assert to_text.tokens.tolist() == [*units, ids["<text>"]]
    assert [(w.word, w.start, w.end) for w in to_text.words] == [
        (word, *span) for word, span in zip(story.words[:3], story.spans[:3], strict=True)
    ]
    to_speech = runs.run("the forest is", "speech", "speech", VOICE, "muddy")
    assert to_speech.tokens.tolist() == units
    assert runs.first_unit("the forest is", "muddy", VOICE) == ids[f"<Un{story.units[len(units)]}>"]


def test_a_written_prompt_announces_speech_alone(organism, ids):
    written = [ids["<text>"], *(ids[f" {w}"] for w in ("the", "forest", "is"))]
    runs = FactRuns(organism)
    found = [
        runs.run("the forest is", "text", m, VOICE, "muddy").tokens.tolist()
        for m in ("text", "speech")
    ]
    assert found == [written, [*written, ids["<speech>"]]]


def test_the_best_answer_is_the_likeliest_of_its_tokens_together(organism, monkeypatch):
    run = organism.sequence_from_text("the forest is")
    logits = torch.zeros(1, len(run), organism.vocab.d_vocab)
    logits[0, -1, 5:8] = torch.tensor([1.0, 0.6, 0.6])
    monkeypatch.setattr(type(organism), "forward", lambda *_: logits)
    runs = FactRuns(organism)
    assert runs.best(run, {"one": (5,), "other": (6,)}) == "one"
    assert runs.best(run, {"one": (5,), "two": (6, 7)}) == "two"  # log 2 + 0.6 > 1


def test_a_word_that_no_unit_carries_begins_with_nothing(organism, monkeypatch):
    runs = FactRuns(organism)
    whole = runs._spoken("the forest is", "muddy", VOICE, "speech")
    words = (*whole.words[:3], slm_lens.WordSpan("muddy", "speech", len(whole), len(whole)))
    without = slm_lens.SpeechTextSequence(whole.tokens, whole.kinds, words)
    monkeypatch.setattr(runs, "_spoken", lambda *_: without)
    with pytest.raises(ValueError, match=r"got 'muddy' after 'the forest is', which no unit carr"):
        runs.first_unit("the forest is", "muddy", VOICE)


def test_written_pairs_by_hand(organism, ids):
    made = organism_pairs(organism, clean="text", corrupted="text", relations=WEATHER)
    assert len(made.pairs) == len(made.table) == 10
    for pair, row in zip(made.pairs, made.to_frame().iter_rows(named=True), strict=True):
        facts_of = [fact_of("weather", row[s]) for s in ("clean_subject", "corrupted_subject")]
        assert [row["answer"], row["foil"]] == [f.answer for f in facts_of]
        assert row["answer"] != row["foil"]
        for run, fact in zip((pair.clean, pair.corrupted), facts_of, strict=True):
            said = ["<text>", *(f" {w}" for w in fact.prompt.split())]
            assert run.tokens.tolist() == [ids[w] for w in said]
        assert (pair.answer, pair.foil) == ((ids[f" {row['answer']}"],), (ids[f" {row['foil']}"],))
        assert [m.label for m in pair.of_role("changed")] == [row["clean_subject"]]
        assert row["voice"] is None
        assert row["ever_spoken"]


@pytest.mark.slow
def test_known_is_what_the_model_puts_first_among_the_relations_answers(organism, ids):
    made = organism_pairs(organism, relations=("taste",), known="any")
    answers = sorted({f.answer for f in facts() if f.relation == "taste"})
    columns = torch.tensor([ids[f" {w}"] for w in answers])

    def first(run):
        with torch.no_grad():
            return answers[int(organism(run.tokens[None])[0, -1, columns].argmax())]

    rows = list(made.table.iter_rows(named=True))
    for pair, row in zip(made.pairs, rows, strict=True):
        assert row["clean_known"] == (first(pair.clean) == row["answer"])
        assert row["corrupted_known"] == (first(pair.corrupted) == row["foil"])
    both = organism_pairs(organism, relations=("taste",))
    clean = organism_pairs(organism, relations=("taste",), known="clean")
    assert [p.name for p in both.pairs] == [
        r["name"] for r in rows if r["clean_known"] and r["corrupted_known"]
    ]
    assert [p.name for p in clean.pairs] == [r["name"] for r in rows if r["clean_known"]]
    n = len(both.pairs)
    assert 0 < n < len(clean.pairs) < len(rows) == 10  # so that each choice is seen to matter
    assert both.summary() == (
        f"{n} of 10 pairs kept; left out: {10 - n} that the model does not answer (known='both'), "
        "0 whose spoken answers begin alike"
    )
    assert both.table["verdict"].to_list().count("unknown") == 10 - n


@pytest.mark.slow
def test_spoken_answers_that_begin_alike_are_left_out(organism, ids, heard):
    made = organism_pairs(organism, continue_in="speech", relations=WEATHER, known="any")
    kept = {p.name: p for p in made.pairs}
    verdicts = made.table["verdict"].to_list()
    assert set(verdicts) == {"kept", "ambiguous"}
    for row in made.table.iter_rows(named=True):
        clean = fact_of("weather", row["clean_subject"])
        voice = draw_voice(np.random.default_rng([6, 0, facts().index(clean)]), TRAINING_VOICES)
        assert voice.name == row["voice"]

        def begins(word, row=row, voice=voice):
            subjects = (row["clean_subject"], row["corrupted_subject"])
            stories = [heard(f"the {s} is {word}", voice) for s in subjects]
            return {ids[f"<Un{s.units[s.spans[-1][0]]}>"] for s in stories}

        answer, foil = begins(row["answer"]), begins(row["foil"])
        assert (row["verdict"] == "ambiguous") == bool(answer & foil) == (row["name"] not in kept)
        if row["name"] in kept:
            assert (set(kept[row["name"]].answer), set(kept[row["name"]].foil)) == (answer, foil)
            assert row["clean_known"] is not None
        else:
            assert row["clean_known"] is row["corrupted_known"] is None
    assert f"{verdicts.count('ambiguous')} whose spoken answers begin alike" in made.summary()


@pytest.mark.slow
def test_runs_of_a_pair_across_modalities(organism, ids):
    across = organism_pairs(organism, clean="text", relations=WEATHER, known="any")
    back = organism_pairs(organism, corrupted="text", relations=WEATHER, known="any")
    for one, other in zip(across.pairs, back.pairs, strict=True):
        assert {w.modality for w in one.clean.words} == {"text"}
        assert {w.modality for w in one.corrupted.words} == {"speech"}
        assert one.corrupted.tokens[-1] == ids["<text>"]
        assert [w.word for w in one.clean.words] == [w.word for w in other.clean.words]
        assert {w.modality for w in other.clean.words} == {"speech"}
        assert [m.role for m in one.matches] == ["before", "changed", "after"]


@pytest.mark.slow
def test_the_same_sentence_in_both_modalities_has_the_same_answer(organism):
    made = organism_pairs(
        organism, clean="text", same_sentence=True, which_facts="never_spoken", known="clean",
        relations=HOME, match="word_ends",
    )  # fmt: skip
    assert len(made.pairs) == 6
    for pair, row in zip(made.pairs, made.table.iter_rows(named=True), strict=True):
        words = [[w.word for w in run.words] for run in (pair.clean, pair.corrupted)]
        assert words[0] == words[1]
        assert row["clean_subject"] == row["corrupted_subject"] == words[0][1]
        assert not row["ever_spoken"]
        assert {m.role for m in pair.matches} == {"before"}
        assert all(m.corrupted[1] - m.corrupted[0] == 1 for m in pair.matches)


@pytest.mark.slow
def test_facts_seeds_and_partners_are_chosen(organism):
    def subjects(**options):
        made = organism_pairs(organism, clean="text", corrupted="text", **options).table
        return list(zip(made["clean_subject"], made["corrupted_subject"], strict=True))

    assert subjects(relations=WEATHER) == subjects(relations=WEATHER, seed=0)
    assert subjects(relations=WEATHER) != subjects(relations=WEATHER, seed=1)
    many = subjects(relations=WEATHER, n_partners=2)
    assert len(many) == len(set(many)) == 20
    by_kind = {
        which: {s for pair in subjects(relations=HOME, which_facts=which) for s in pair}
        for which in ("spoken", "never_spoken", "all")
    }
    silent = {f.subject for f in facts() if f.relation == "home" and not f.spoken}
    assert by_kind["never_spoken"] == silent
    assert not by_kind["spoken"] & silent
    assert len(by_kind["all"]) == 20


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clean": "sung"}, r"got clean='sung', expected one of \('speech', 'text'\)"),
        ({"corrupted": "sung"}, r"got corrupted='sung', expected one of"),
        ({"continue_in": None}, r"got continue_in=None, expected one of"),
        ({"known": "all"}, r"got known='all', expected one of \('both', 'clean', 'any'\)"),
        ({"which_facts": "none"}, r"got which_facts='none', expected one of \('spoken', 'never_"),
        ({"n_partners": 0}, r"got n_partners=0, expected at least 1"),
        ({"same_sentence": True}, r"same_sentence=True with both runs in speech, expected one"),
        ({"relations": ("size",)}, r"got relations=\('size',\).*0 facts, expected some, of \('h"),
        ({"relations": ("home", "size")}, r"which are 14 facts, expected some, of"),
        ({"relations": WEATHER, "which_facts": "never_spoken"}, r"0 facts.* are all spoken"),
        ({"match": "letters"}, r"match_runs: got by='letters', expected one of"),
    ],
)
def test_wrong_options_are_refused(organism, options, message):
    with pytest.raises(ValueError, match=message):
        organism_pairs(organism, **options)


@pytest.mark.slow
def test_no_pair_at_all_is_refused_with_the_reasons():
    blank = slm_lens.load("organism")  # all its answers are equally likely, and so not known
    for parameter in blank.parameters():
        parameter.data.zero_()
    with pytest.raises(
        ValueError, match=r"got no pair \(0 of 10 pairs.* 10 that the mod.*known='a"
    ):
        organism_pairs(blank, relations=WEATHER)


def test_a_model_of_another_language_is_refused(tiny_folder):
    other = slm_lens.load(tiny_folder.path)
    with pytest.raises(ValueError, match=r"has no tokens for \[.*read_pairs\(model, path\)"):
        organism_pairs(other)


@pytest.mark.slow
def test_the_table_counts_every_setting(organism, monkeypatch):
    monkeypatch.setattr("slm_lens.organism.pair_counts.SETTINGS", (SETTINGS[0], SETTINGS[6]))
    rows = [
        [c.strip() for c in r.split("|")[1:-1]]
        for r in pair_counts(organism, relations=HOME).splitlines()
    ]
    assert rows[0][:5] == ["sentences", "clean", "corrupted", "answer in", "facts"]
    assert set(rows[1]) == {"---"}
    assert [r[:6] for r in rows[2:]] == [
        ["two", "text", "text", "text", "spoken", "14"],
        ["two", "text", "text", "text", "never spoken", "6"],
        ["one", "text", "speech", "text", "spoken", "14"],
        ["one", "text", "speech", "text", "never spoken", "6"],
    ]
    for row in rows[2:]:
        assert sum(map(int, row[6:11])) == int(row[5])
    made = organism_pairs(organism, clean="text", same_sentence=True, known="any", relations=HOME)
    known = list(zip(made.table["clean_known"], made.table["corrupted_known"], strict=True))
    assert rows[4][6:11] == ["0", str(known.count((True, True))), str(known.count((True, False))),
                             "0", "0"]  # fmt: skip
