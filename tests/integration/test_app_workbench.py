"""What the app does, beside the functions that it stands on, on the embedded models."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import slm_lens
from slm_lens.app.comparison import best_ranks
from slm_lens.app.counterfactual import METRIC, by_place, counterfactual, patch_layers
from slm_lens.app.hearing import Heard, listen, speak
from slm_lens.app.limits import Limits
from slm_lens.app.prompts import likeliest, prompt_of, utterance_of
from slm_lens.app.steering import steer_heard
from slm_lens.app.unit_sounds import unit_sounds
from slm_lens.app.workbench import Workbench
from slm_lens.errors import AlignmentError
from slm_lens.speech.synthesis import Voice

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def models():
    return {name: slm_lens.load(name) for name in ("organism", "organism-control")}


@pytest.fixture(scope="module")
def model(models):
    return models["organism"]


@pytest.fixture(scope="module")
def bench(models):
    return Workbench(models)


def spoken(text, voice="en-us"):
    return speak(text, voice, RATE_HZ, Limits())


def test_a_prompt_is_cut_as_the_facts_are(model):
    # FactRuns speaks a fact with some word behind it, and cuts there: the same clip, by other code.
    from slm_lens.organism.fact_runs import FactRuns

    heard = spoken("the zebra lives in the forest")
    theirs = FactRuns(model).run(
        "the zebra lives in the", "speech", "text", Voice("en-us"), "forest"
    )
    ours = prompt_of(model, heard, announce="text", n_words=5).sequence
    assert ours.tokens.tolist() == theirs.tokens.tolist()
    assert [w.word for w in ours.words] == [w.word for w in theirs.words]


@pytest.mark.parametrize("n_words", [0, 7, -1])
def test_a_prompt_of_other_words_is_refused(model, n_words):
    with pytest.raises(AlignmentError, match=rf"got a prompt of {n_words} words, expected 1 to 6"):
        prompt_of(model, spoken("the zebra lives in the forest"), announce="text", n_words=n_words)


def test_a_clip_without_words_is_a_prompt_as_a_whole(model):
    heard = spoken("the zebra lives")
    bare = Heard(heard.name, heard.waveform, RATE_HZ, None, "nothing")
    prompt = prompt_of(model, bare, announce="nothing").sequence
    assert prompt.tokens.equal(utterance_of(model, heard).sequence.tokens)


def test_the_likeliest_token_is_of_the_modality(model):
    prompt = prompt_of(model, spoken("the zebra lives in the"), announce="text").sequence
    logits = model(prompt.tokens[None])[0, -1]
    best = likeliest(model, prompt, text_only=True)
    assert logits[best] == logits[list(model.vocab.text)].max()


def test_patching_is_patch_pairs(model):
    given = counterfactual(
        model, spoken("the zebra lives in the"), spoken("the tiger lives in the")
    )
    assert given.places == ("1 the", "2 zebra (tiger)", "3 lives", "4 in", "5 the")
    steps = list(patch_layers(model, given, kind="attn_out", direction="noising"))
    assert len(steps) == model.cfg.n_layers
    assert steps[2].table["layer"].unique().sort().to_list() == [0, 1, 2]
    whole = slm_lens.patch_pairs(
        model, [given.pair], "attn_out", metrics=[slm_lens.logit_difference()], direction="noising"
    )
    np.testing.assert_allclose(steps[-1].table["patched"], whole.table["patched"], atol=1e-4)
    table = by_place(given, steps[-1])
    np.testing.assert_allclose(table["estimate"], whole.recovery(METRIC)["recovery"], atol=1e-4)
    assert table["place"].to_list()[:6] == [*given.places, "end"]


def test_an_exchanged_word_moves_the_answer(model):
    # docs/causal: the answer is at the changed word below, and at the end above.
    given = counterfactual(
        model, spoken("the zebra lives in the"), spoken("the tiger lives in the"),
        answer="desert", foil="river",
    )  # fmt: skip
    *_, last = patch_layers(model, given)
    cells = {(r["layer"], r["place"]): r["estimate"] for r in by_place(given, last).to_dicts()}
    assert cells[0, "2 zebra (tiger)"] > 0.5 > cells[7, "2 zebra (tiger)"]
    assert cells[7, "end"] > 0.5 > cells[0, "end"]


def test_two_sentences_with_one_answer_are_refused(model):
    clean, corrupted = spoken("the zebra lives in the"), spoken("the tiger lives in the")
    with pytest.raises(ValueError, match=r"got 'desert' as the answer of both sentences"):
        counterfactual(model, clean, corrupted, answer="desert", foil="desert")


def test_a_spoken_answer_is_a_unit(model):
    given = counterfactual(
        model, spoken("the zebra lives in the"), spoken("the tiger lives in the"),
        announce="nothing", answer="<Un3>", foil="<Un4>",
    )  # fmt: skip
    assert given.pair.answer == tuple(model.vocab.unit_to_token(torch.tensor([3])).tolist())


def test_steering_is_steer_prompt(model):
    prompt = prompt_of(model, spoken("the zebra lives in the"), announce="nothing")
    options = {"layer": 4, "max_new_tokens": 12, "temperature": 0.7, "seed": 3}
    plain, steered = steer_heard(model, prompt, "text", 1.0, limits=Limits(), **options)
    theirs = slm_lens.steer_prompt(model, prompt, "text", [0.0, 1.0], **options).table
    assert [list(c.labels) for c in (plain, steered)] == theirs["labels"].to_list()
    assert [c.text for c in (plain, steered)] == theirs["text"].to_list()
    assert [c.n_speech for c in (plain, steered)] == theirs["n_speech"].to_list()
    units = [f"<Un{u}>" for u in plain.units]
    assert units == [label for label in plain.labels if label.startswith("<Un")]


def test_strength_zero_is_made_once(model):
    prompt = prompt_of(model, spoken("the zebra lives in the"), announce="nothing")
    options = {"layer": 4, "max_new_tokens": 2, "temperature": 0.0, "seed": 0}
    assert len(list(steer_heard(model, prompt, "text", 0.0, limits=Limits(), **options))) == 1
    with pytest.raises(ValueError, match=r"got 2 new tokens, expected 1 to 1\. Take fewer"):
        next(steer_heard(model, prompt, "text", 0.0, limits=Limits(max_new_tokens=1), **options))


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def test_units_come_back_from_their_sound(model):
    # 0.15 and 0.13 in voices of the training, 0.37 in the voice that training never used.
    for number, most in ((0, 0.2), (6, 0.2), (2, 0.45)):
        path, _ = slm_lens.clips_of("held-out")[number]
        encode = model.unit_tokenizer.encode
        units = encode(slm_lens.read_audio(path, sample_rate_hz=RATE_HZ)).ids.tolist()
        sounds = unit_sounds(model, leave_out=[number])
        again = encode(sounds.sound(units)).ids.tolist()
        assert edit_distance(units, again) / len(units) < most


def test_best_ranks_are_those_of_the_word_table(models):
    heard = spoken("the zebra lives in the desert and the desert is sunny")
    for model in models.values():
        utterance = utterance_of(model, heard)
        grid = slm_lens.lens_grid(model, utterance, policy=model.word_policy)
        table = slm_lens.word_lens(
            model,
            [utterance],
            policy=model.word_policy,
            function_words=frozenset(),
            n_draws=0,
        ).table
        for offset, column in ((0, "rank_current_text_max"), (1, "rank_next_text_max")):
            ranks = best_ranks(grid, offset)
            assert len(ranks) == len(heard.words)
            for index, found in enumerate(ranks):
                rows = table.filter(word_index=index).sort("layer")
                if found is None:
                    assert rows.is_empty() or rows[column].null_count() == len(rows)
                    continue
                by_layer = zip(rows[column].to_list(), rows["layer"].to_list(), strict=True)
                assert found == min(by_layer)


def test_every_way_in_and_out(bench):
    clip, _ = slm_lens.clips_of("held-out")[2]
    heard = bench.hear_clip("organism", clip, None, "")
    *_, last = bench.look("organism", heard)
    assert (last.done, last.total) == (1, 1)
    assert "<iframe" in last.html
    assert "Words are not known" in last.html
    typed = bench.hear_text("organism", "the zebra lives in the", "en-us")
    *_, last = bench.compare("organism", "organism-control", typed)
    assert last.html.count("<iframe") == 1
    assert "organism-control: this word" in last.html


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b, h: b.look("other", h), r"got the model 'other', expected one of \['organism"),
        (lambda b, _: b.look("organism", None), "got nothing to read, expected a sentence"),
        (lambda b, h: b.compare("organism", "organism", h), "got 'organism' twice"),
        (lambda b, _: iter([b.hear_clip("organism", None, None, "")]), "got no sound, expected a"),
    ],
)
def test_what_cannot_be_done_is_refused(bench, call, message):
    heard = spoken("the zebra lives in the")
    with pytest.raises((ValueError, LookupError), match=message):
        next(call(bench, heard))


def test_many_at_once_get_what_each_gets_alone(bench, model):
    # Threads that meet in the middle of each other's runs: hooks of one must not be seen by others.
    subjects = ("zebra", "tiger", "camel", "rabbit")
    heard = {s: spoken(f"the {s} lives in the") for s in subjects}

    def steer(subject):
        steps = bench.steer(
            "organism", heard[subject], toward="speech", strength=1.0, layer=4, n_words=None,
            announce="text", max_new_tokens=8, temperature=0.0,
        )  # fmt: skip
        return [step.html for step in steps]

    alone = {s: steer(s) for s in subjects}
    start = threading.Barrier(len(subjects))

    def together(subject):
        start.wait()
        return steer(subject)

    with ThreadPoolExecutor(len(subjects)) as pool:
        assert dict(zip(subjects, pool.map(together, subjects), strict=True)) == alone
    assert not any(h.fwd_hooks for h in model.hook_dict.values())


def test_a_run_that_is_left_off_leaves_nothing_behind(bench, model):
    heard = spoken("the zebra lives in the")
    steps = bench.steer(
        "organism", heard, toward="speech", strength=1.0, layer=4, n_words=None, announce="text",
        max_new_tokens=4, temperature=0.0,
    )  # fmt: skip
    next(steps)
    assert not any(h.fwd_hooks for h in model.hook_dict.values())
    found = []
    other = threading.Thread(target=lambda: found.extend(bench.look("organism", heard)))
    other.start()  # another visitor goes on, although the first one never comes back
    other.join(timeout=60)
    assert len(found) == 2
    steps.close()


def test_a_recording_is_read_as_its_file(bench, model):
    sound, words = slm_lens.clips_of("held-out")[0]
    heard = listen(sound, RATE_HZ, Limits(), words_file=words)
    theirs = model.sequence_from_audio(sound, slm_lens.read_alignment(words))
    assert utterance_of(model, heard).sequence.tokens.equal(theirs.tokens)
    assert bench.hear_clip("organism", sound, words, "").words == heard.words
