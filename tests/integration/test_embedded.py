"""What ships with the package: models that load, clips that can be read, numbers that hold.

No number of a model is pinned here: the models may be trained again.
"""

import importlib.util
import json
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import slm_lens
from slm_lens.corpus.folder import clips_of
from slm_lens.organism.corpus import held_out_stories, training_story
from slm_lens.phases.measure import measure_phases

DATA = Path(str(files("slm_lens").joinpath("data")))
ORACLES = Path(__file__).parents[1] / "oracles"
MODELS = ("organism", "organism-control")


def load_oracle(name):
    spec = importlib.util.spec_from_file_location(name, ORACLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return slm_lens.load(request.param)


def raw_model(name, attention="eager"):
    """The weights in a plain Hugging Face model, without slm_lens."""
    from safetensors.torch import load_file
    from transformers import Qwen2Config, Qwen2ForCausalLM

    about = json.loads((DATA / name / "config.json").read_text())
    config = Qwen2Config(**about["base_config"] | {"vocab_size": about["vocab_size"]})
    config._attn_implementation = attention
    hf = Qwen2ForCausalLM(config).float().eval()
    stored = load_file(DATA / name / "model.safetensors")
    stored = {n.removeprefix("lm."): t.float() for n, t in stored.items()}
    missing, unexpected = hf.load_state_dict(stored, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])  # tied to the embedding
    hf.tie_weights()
    return hf


@pytest.mark.parametrize("name", MODELS)
def test_a_model_folder_is_small(name):
    assert sum(p.stat().st_size for p in (DATA / name).iterdir()) < 12e6


@pytest.mark.slow
def test_an_embedded_model_loads_and_gives_the_logits_of_its_weights(model):
    name = model.provenance.name
    tokens = torch.randint(3, 270, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = raw_model(name)(tokens).logits, model(tokens)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert model.unit_tokenizer.n_units == len(model.vocab.streams["units"]) == 100


@pytest.mark.parametrize("sound", [s for s, _ in clips_of("held-out")], ids=lambda s: s.stem)
def test_a_held_out_clip_is_its_story_with_times(sound):
    info = soundfile.info(sound)
    assert (info.samplerate, info.channels) == (16_000, 1)
    alignment = slm_lens.read_alignment(
        sound.with_suffix(".json"), clip_duration_s=info.frames / info.samplerate
    )
    story = held_out_stories()[int(sound.stem[:2])]
    assert [w.word for w in alignment] == " ".join(story).split()
    assert all(a.end_s <= b.start_s + 1e-6 for a, b in pairwise(alignment))
    assert all(w.end_s > w.start_s for w in alignment)
    assert slm_lens.read_audio(sound, sample_rate_hz=16_000).abs().mean() > 0.01


def test_there_are_thirty_clips():
    assert [s.stem[:2] for s, _ in clips_of("held-out")] == [f"{i:02d}" for i in range(30)]


@pytest.mark.slow
def test_no_held_out_sentence_was_trained_on():
    held_out = {s for story in held_out_stories() for s in story}
    for spoken in (True, False):
        for i in range(3000):
            assert not held_out & set(training_story(i, spoken=spoken))


@pytest.mark.slow
@pytest.mark.parametrize(("forward", "attention"), [("fast", "sdpa"), ("hooked", "eager")])
def test_recalls_on_all_held_out_clips_equal_the_oracle_to_the_last_digit(
    tmp_path, forward, attention
):
    model = slm_lens.load("organism")
    function_words = slm_lens.ENGLISH_FUNCTION_WORDS
    utterances = slm_lens.read_utterances(model, "held-out")
    assert len(utterances) == 30
    table = slm_lens.word_lens(
        model,
        utterances,
        function_words=function_words,
        policy="whole_word",
        n_draws=1,
        seed=0,
        forward=forward,
    )
    assert table.provenance.attention == attention
    phases = measure_phases(table, ks=(1, 5, 10), n_bootstrap=0)

    states, oracle = load_oracle("hf_states"), load_oracle("numpy_recall")
    tokenizer = json.loads((DATA / model.provenance.name / "tokenizer.json").read_text())
    ids = {}
    for piece, token in tokenizer["model"]["vocab"].items():
        ids.setdefault(piece.strip(), []).append(token)
    items = []
    for u in utterances:
        spoken = [(w.word, w.start, w.end, w.modality == "speech") for w in u.sequence.words]
        rows = states.words_to_count(spoken, lambda w: ids.get(w, []), function_words)
        items.append((u.sequence.tokens, rows))
    hf = raw_model(model.provenance.name, attention)
    states.save(tmp_path / "states.npz", hf, model.vocab.text, items)
    with np.load(tmp_path / "states.npz") as data:
        expected = oracle.recalls(dict(data))
    assert len(expected) == 2 * 2 * 2 * 3
    for (target, in_vocab, pool, k), curve in expected.items():
        rows = phases.curve(f"{target}_word_recall", vocab=in_vocab, pool=pool, k=k)
        assert rows["estimate"].to_list() == curve, (target, in_vocab, pool, k)
