"""Prompts of loaded checkpoints, as ids that were worked out by hand from the published formats.

`N` is the number of tokens of the byte-level tokenizer, so the id of the first token that a family
adds; Spirit LM's and SpeechGPT's SentencePiece file has 330 pieces, GLM-4-Voice's ranks 266.
"""

import pytest
import soundfile
import torch
from folders import N
from tiny_mimi import tiny_mimi

import slm_lens
from slm_lens import AlignedWord, Alignment, Units

UNITS = Units(torch.tensor([3, 9, 3]), torch.tensor([1, 2, 1]), 25.0)
WORDS = Alignment((AlignedWord("the", 0.0, 0.12), AlignedWord("lion", 0.12, 0.16)))


def frames(units, rate=12.5):
    return Units(torch.tensor(units), torch.ones(len(units), dtype=torch.int64), rate)


def text(model, written):
    return model.vocab.encode_text(written)


@pytest.mark.parametrize(
    ("layout", "n_units"), [("SIMS, Qwen2 base", 20), ("SIMS, Llama base", 500)]
)
def test_sims(loaded, layout, n_units):
    model, speech, written = loaded(layout), N + n_units, N + n_units + 1
    bos = [1] if "Llama" in layout else []
    units = [N + 3, N + 9, N + 3]
    assert model.sequence_from_units(UNITS).tokens.tolist() == bos + units
    assert model.sequence_from_units(UNITS, continue_in="speech").tokens.tolist() == (
        [*bos, *units, speech]
    )
    assert model.sequence_from_units(UNITS, continue_in="text").tokens.tolist() == (
        [*bos, *units, written]
    )
    the_lion = text(model, " the lion")
    assert model.sequence_from_text("the lion").tokens.tolist() == [*bos, written, *the_lion]
    # The unit that ends with "the" is its last; "lion" is written.
    mixed = model.sequence_interleaved(UNITS, WORDS, spoken=[True, False])
    assert mixed.tokens.tolist() == ([*bos, speech, N + 3, N + 9, written, *text(model, " lion")])


def test_slam(loaded):
    model = loaded("Slam")
    assert model.sequence_from_units(UNITS).tokens.tolist() == [1, 5, 11, 5, 1]
    assert model.sequence_from_units(UNITS, continue_in="speech").tokens.tolist() == [1, 5, 11, 5]


@pytest.mark.parametrize(("layout", "offset"), [("TWIST, OPT", 10), ("TWIST, Llama", 4)])
def test_twist(loaded, layout, offset):
    expected = [offset + 3, offset + 9, offset + 3]
    assert loaded(layout).sequence_from_units(UNITS).tokens.tolist() == expected


def test_spirit_lm_base(loaded):
    model = loaded("Spirit LM base")
    written, speech, hu = 330, 331, 332
    units = [hu + 3, hu + 9, hu + 3]
    assert model.sequence_from_units(UNITS).tokens.tolist() == [1, speech, *units]
    assert model.sequence_from_units(UNITS, continue_in="speech").tokens.tolist() == (
        [1, speech, *units]
    )
    assert model.sequence_from_units(UNITS, continue_in="text").tokens.tolist() == (
        [1, speech, *units, written]
    )
    spoken = model.sequence_from_text("the lion")
    assert [model.vocab.label(t) for t in spoken.tokens.tolist()][:2] == ["<s>", "<text>"]
    assert "".join(model.vocab.label(t) for t in spoken.tokens.tolist()[2:]) == " the lion"


def test_spirit_lm_expressive_merges_three_streams(loaded):
    """Style at 0 s; pitch at 0 s and 0.08 s; units at 0, 0.04 and 0.12 s (frames of 24.99 Hz)."""
    model = loaded("Spirit LM expressive")
    speech, hu, pi, st = 331, 332, 833, 897
    streams = {
        "units": Units(torch.tensor([3, 9, 3]), torch.tensor([1, 2, 1]), 24.99),
        "pitch": Units(torch.tensor([39, 48]), torch.tensor([1, 1]), 12.5),
        "style": frames([71], 1.0),
    }
    assert model.sequence_from_units(streams).tokens.tolist() == (
        [1, speech, st + 71, pi + 39, hu + 3, hu + 9, pi + 48, hu + 3]
    )


def test_glm_4_voice(loaded, published):
    model, ids = loaded("GLM-4-Voice"), published("GLM-4-Voice").ids
    start = [ids["[gMASK]"], ids["<sop>"]]
    audio = [ids["<|begin_of_audio|>"], 303, 309, 303, ids["<|end_of_audio|>"]]
    units = frames([3, 9, 3])
    assert model.sequence_from_units(units).tokens.tolist() == start + audio
    assert model.sequence_from_units(units, continue_in="speech").tokens.tolist() == (
        start + audio[:-1]
    )
    the_zebra = text(model, "the zebra")
    assert model.sequence_from_text("the zebra").tokens.tolist() == start + the_zebra
    system = (
        "User will provide you with a speech instruction. Do it step by step. First, think about "
        "the instruction and respond in a interleaved manner, with 13 text token followed by 26 "
        "audio tokens. "
    )
    turn = [ids["<|system|>"], *text(model, f"\n{system}"), ids["<|user|>"], *text(model, "\n")]
    answer = [ids["<|assistant|>"], *text(model, "streaming_transcription\n")]
    chat = model.sequence_from_units(units, chat=True)
    assert chat.tokens.tolist() == start + turn + audio + answer


def test_llama_mimi(loaded):
    """A frame is its four codes in turn; code c of codebook q has id N + 4 c + q."""
    model = loaded("Llama-Mimi")
    streams = {
        "units": frames([2, 5]),
        "codebook_1": frames([0, 1]),
        "codebook_2": frames([3, 3]),
        "codebook_3": frames([7, 15]),
    }
    codes = [N + 8, N + 1, N + 14, N + 31, N + 20, N + 5, N + 14, N + 63]
    assert model.sequence_from_units(streams).tokens.tolist() == [1, N + 64, *codes, N + 65]
    assert model.sequence_from_text("the lion").tokens.tolist() == [1, *text(model, "the lion")]


def test_llama_mimi_hears_a_clip(published, tmp_path):
    """From sound through the codec to the prompt: the codes of each frame, codebook by codebook."""
    clip = torch.sin(torch.arange(12_000) * 0.05) * torch.linspace(0.1, 0.9, 12_000)
    soundfile.write(tmp_path / "clip.wav", clip.numpy(), 24_000, subtype="FLOAT")
    codec = tiny_mimi(codebook_size=16)
    folder = published("Llama-Mimi").path
    model = slm_lens.load(folder, unit_tokenizer=slm_lens.MimiCodes(codec, n_codebooks=4))
    with torch.no_grad():
        audio_codes = codec.encode(clip[None, None], num_quantizers=4).audio_codes
    assert audio_codes is not None
    frames_of_codes = audio_codes[0].T.tolist()
    expected = [N + 4 * c + q for frame in frames_of_codes for q, c in enumerate(frame)]
    sequence = model.sequence_from_audio(tmp_path / "clip.wav")
    assert sequence.tokens.tolist() == [1, N + 64, *expected, N + 65]
    other = slm_lens.MimiCodes(tiny_mimi(codebook_size=32), n_codebooks=4)
    with pytest.raises(slm_lens.VocabError, match=r"tokenizer has 32 units and the vocabulary 16"):
        slm_lens.load(folder, unit_tokenizer=other)


def test_orpheus(loaded, published):
    model, ids = loaded("Orpheus"), published("Orpheus").ids
    names = ["units", *(f"slot_{s}" for s in range(1, 7))]
    streams = {name: frames([100 + s], 24_000 / 2_048) for s, name in enumerate(names)}
    codes = [ids[f"<custom_token_{10 + 4096 * s + 100 + s}>"] for s in range(7)]
    assert model.sequence_from_units(streams).tokens.tolist() == (
        [ids["<custom_token_1>"], *codes, ids["<custom_token_2>"]]
    )
    custom = [ids[f"<custom_token_{n}>"] for n in range(6)]
    before, after = (
        [custom[3], ids["<|begin_of_text|>"]],
        [ids["<|eot_id|>"], *custom[4:], custom[1]],
    )
    assert model.sequence_from_text("tara: the lion", chat=True).tokens.tolist() == (
        before + text(model, "tara: the lion") + after
    )


def test_soda(loaded):
    model = loaded("SODA")
    names = ["units", *(f"codebook_{q}" for q in range(1, 8))]
    streams = {name: frames([10 + q]) for q, name in enumerate(names)}
    codes = [N + 6 + 2048 * q + 10 + q for q in range(8)]
    begin, text_start, text_end, audio_start, audio_end = N, N + 2, N + 3, N + 4, N + 5
    assert model.sequence_from_units(streams).tokens.tolist() == (
        [begin, audio_start, *codes, audio_end]
    )
    assert model.sequence_from_text("the lion").tokens.tolist() == (
        [begin, text_start, *text(model, "the lion"), text_end]
    )


def test_ichigo(loaded):
    expected = [1, N + 512, N + 3, N + 9, N + 3, N + 513]
    assert loaded("Ichigo").sequence_from_units(UNITS).tokens.tolist() == expected


def test_speech_gpt(loaded):
    model = loaded("SpeechGPT")
    expected = [1, 1330, 333, 339, 333, 1331]
    assert model.sequence_from_units(UNITS).tokens.tolist() == expected
    written = model.sequence_from_text("the lion").tokens.tolist()
    assert written[0] == 1
    assert "".join(model.vocab.label(t) for t in written[1:]) == " the lion"
