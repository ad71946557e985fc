"""What a HookedSLM knows besides being a TransformerBridge."""

import copy
import dataclasses
import shutil

import pytest
import soundfile
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

import slm_lens
from slm_lens import (
    AlignedWord,
    Alignment,
    HookedSLM,
    PromptFormat,
    SpeechTextVocab,
    Turn,
    Units,
)
from slm_lens.families.checkpoint import Checkpoint

# slamkit_folders.py: 3 control tokens, 9 words, 13 + 13 letters, then 20 units and 2 markers.
UN0, SPEECH, TEXT = 38, 58, 59


class LevelTokenizer:
    """A real, tiny unit tokenizer: the unit is the loudness of a frame of 640 samples, in steps."""

    sample_rate_hz = 16000
    frame_rate_hz = 25.0
    dedup = True

    def __init__(self, n_units):
        self.n_units = n_units

    def encode(self, waveform):
        frames = waveform[: waveform.numel() // 640 * 640].view(-1, 640)
        levels = (frames.abs().amax(1) * self.n_units).long().clamp(max=self.n_units - 1)
        return Units.from_frames(levels, frame_rate_hz=25.0, dedup=True)


class TestVocabulary:
    def test_is_read_from_the_tokenizer(self, tiny_model):
        vocab = tiny_model.vocab
        assert vocab.markers == {"speech": SPEECH, "text": TEXT}
        assert list(vocab.streams["units"]) == list(range(UN0, UN0 + 20))
        assert vocab.specials == {"<pad>": 0, "<eos>": 1, "<unk>": 2}
        assert list(vocab.text) == list(range(3, 38))
        assert len(vocab.padding) == 0
        assert vocab.word_tokens("zebra", "whole_word") == (4,)
        # " zebra" and its beginnings: " z" (24) and "z" (37).
        assert vocab.word_tokens("zebra", "prefixes") == (4, 24, 37)

    def test_rows_that_no_token_uses_are_padding(self, slamkit_folder):
        folder = slamkit_folder(padding_rows=4)
        model = slm_lens.load(folder.path)
        assert list(model.vocab.padding) == [60, 61, 62, 63]
        assert model.to_str_tokens(torch.tensor([63, 59])) == ["<padding 63>", "<text>"]

    def test_byte_level_words(self, slamkit_folder):
        vocab = slm_lens.load(slamkit_folder(tokenizer="bytes").path).vocab
        assert vocab.encode_text is not None
        (zebra,) = vocab.encode_text(" zebra")
        assert vocab.labels[zebra] == " zebra"
        assert vocab.word_tokens("zebra", "whole_word") == (zebra,)
        assert "<|reserved|>" in vocab.specials


class TestTokens:
    def test_text_goes_there_and_back(self, tiny_model):
        tokens = tiny_model.to_tokens(" the zebra<speech><Un3><Un19>")
        assert tokens.tolist() == [[3, 4, SPEECH, UN0 + 3, UN0 + 19]]
        assert tiny_model.to_string(tokens[0]) == " the zebra<speech><Un3><Un19>"

    def test_every_row_has_a_name(self, tiny_model):
        names = tiny_model.to_str_tokens(torch.arange(tiny_model.cfg.d_vocab))
        assert all(names)
        assert len(set(names)) == len(names)
        assert names[UN0 + 3] == tiny_model.to_single_str_token(UN0 + 3) == "<Un3>"
        assert tiny_model.to_single_token("<Un3>") == UN0 + 3

    def test_kinds_of_input(self, tiny_model):
        expected = [" the", "<Un0>"]
        ids = torch.tensor([3, UN0])
        for given in (ids, ids[None], ids.numpy(), " the<Un0>"):
            assert tiny_model.to_str_tokens(given) == expected
        assert tiny_model.to_str_tokens([ids, " zebra"]) == [expected, [" zebra"]]
        with pytest.raises(ValueError, match=r"ids of shape \(2, 2\), expected one sequence"):
            tiny_model.to_str_tokens(torch.ones(2, 2, dtype=torch.int64))

    def test_bos_is_what_the_tokenizer_does_by_itself(self, tiny_model, slamkit_folder):
        assert tiny_model.prompt_format == PromptFormat(
            before=(), after=(), mark_speech_only=False, mark_text_only=True, repeat_marker=True
        )
        # TransformerLens would put one for every Llama and none for every Qwen2.
        for architecture in ("llama", "qwen2"):
            folder = slamkit_folder(architecture=architecture, tokenizer="bytes with bos")
            model = slm_lens.load(folder.path)
            assert model.prompt_format.before == (1,)
            assert model.to_str_tokens(" the") == ["<|begin|>", " the"]
            assert model.to_str_tokens(" the", prepend_bos=False) == [" the"]
            folder = slamkit_folder(architecture=architecture, tokenizer="bytes with unused bos")
            model = slm_lens.load(folder.path)
            assert model.prompt_format.before == ()
            assert model.to_str_tokens(" the lion") == [" the", " lion"]


class TestSequences:
    units = Units(torch.tensor([4, 9, 4]), torch.tensor([1, 2, 1]), 25.0)

    def test_prompts_follow_the_models_format(self, tiny_model, slamkit_folder):
        spoken = tiny_model.sequence_from_units(self.units)
        assert spoken.tokens.tolist() == [UN0 + 4, UN0 + 9, UN0 + 4]
        written = tiny_model.sequence_from_text("the zebra")
        assert written.tokens.tolist() == [TEXT, 3, 4]
        llama = slm_lens.load(slamkit_folder(architecture="llama", tokenizer="bytes with bos").path)
        for sequence in (llama.sequence_from_units(self.units), llama.sequence_from_text("the")):
            assert sequence.tokens[0] == 1
            assert sequence.kinds[0] == "special"

    def test_a_prompt_to_be_continued(self, tiny_model):
        spoken, written = [UN0 + 4, UN0 + 9, UN0 + 4], [TEXT, 3, 4]
        assert tiny_model.sequence_from_units(self.units, continue_in="text").tokens.tolist() == [
            *spoken,
            TEXT,
        ]
        prompt = tiny_model.sequence_from_text("the zebra", continue_in="speech")
        assert prompt.tokens.tolist() == [*written, SPEECH]
        words = Alignment((AlignedWord("the", 0.0, 0.04), AlignedWord("zebra", 0.05, 0.12)))
        for continue_in, end in ((None, []), ("text", [TEXT]), ("speech", [SPEECH])):
            mixed = tiny_model.sequence_interleaved(
                self.units, words, spoken=[False, True], continue_in=continue_in
            )
            assert mixed.tokens.tolist() == [TEXT, 3, SPEECH, UN0 + 9, *end]

    def test_streams_of_another_model_are_refused(self, tiny_model):
        assert len(tiny_model.sequence_from_units({"units": self.units})) == 3
        with pytest.raises(slm_lens.VocabError, match=r"unknown: \['pitch'\]"):
            tiny_model.sequence_from_units({"units": self.units, "pitch": self.units})

    def test_chat_needs_a_model_that_was_taught_it(self, own_model):
        for ask in (
            lambda: own_model.sequence_from_units(self.units, chat=True),
            lambda: own_model.sequence_from_text("the", chat=True),
        ):
            with pytest.raises(ValueError, match=r"got chat=True, but .* no turn for"):
                ask()
        turn = Turn(before=(1,), after=(2,))
        own_model.prompt_format = dataclasses.replace(
            own_model.prompt_format, chat={"speech": turn, "text": turn}
        )
        spoken = own_model.sequence_from_units(self.units, chat=True)
        assert spoken.tokens.tolist() == [1, UN0 + 4, UN0 + 9, UN0 + 4, 2]
        assert own_model.sequence_from_text("the", chat=True).tokens.tolist() == [1, TEXT, 3, 2]

    def test_from_audio(self, tiny_folder, tmp_path):
        model = slm_lens.load(tiny_folder.path, unit_tokenizer=LevelTokenizer(20))
        # Frames of peak 0.5, 0.5 and 0.26: units 10 and 5 of 20.
        waveform = torch.cat([torch.full((1280,), 0.5), torch.full((640,), 0.26)])
        soundfile.write(tmp_path / "a.wav", waveform.numpy(), 16000, subtype="FLOAT")
        alignment = Alignment((AlignedWord("zebra", 0.0, 0.08),))
        sequence = model.sequence_from_audio(tmp_path / "a.wav", alignment)
        assert sequence.tokens.tolist() == [UN0 + 10, UN0 + 5]
        assert (sequence.words[0].start, sequence.words[0].end) == (0, 1)
        prompt = model.sequence_from_audio(tmp_path / "a.wav", continue_in="text")
        assert prompt.tokens.tolist() == [UN0 + 10, UN0 + 5, TEXT]
        with pytest.raises(ValueError, match=r"got chat=True"):
            model.sequence_from_audio(tmp_path / "a.wav", chat=True)


class TestWithoutTextTokenizer:
    """A unit-only model in small, as Slam: <PAD>, <S> and 20 units."""

    units = Units(torch.tensor([4, 9, 4]), torch.tensor([1, 2, 1]), 25.0)

    @pytest.fixture
    def hf_model(self):
        torch.manual_seed(0)
        config = Qwen2Config(
            vocab_size=22,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
        config.architectures = ["Qwen2ForCausalLM"]
        model = Qwen2ForCausalLM(config).eval()
        model.set_attn_implementation("eager")
        return model

    @pytest.fixture
    def model(self, hf_model):
        vocab = SpeechTextVocab(
            d_vocab=22, text=[], streams={"units": range(2, 22)}, specials={"<PAD>": 0, "<S>": 1}
        )
        prompt_format = PromptFormat(
            before=(1,),
            after=(1,),
            mark_speech_only=False,
            mark_text_only=False,
            repeat_marker=False,
        )
        checkpoint = Checkpoint(
            hf_model=copy.deepcopy(hf_model),
            tokenizer=None,
            prepends_bos=False,
            appends_eos=False,
            vocab=vocab,
            prompt_format=prompt_format,
            family="slam",
        )
        return HookedSLM(checkpoint, name="tiny-slam", unit_tokenizer=LevelTokenizer(20))

    def test_runs_with_hooks(self, model, hf_model):
        sequence = model.sequence_from_units(self.units)
        assert sequence.tokens.tolist() == [1, 6, 11, 6, 1]
        with torch.no_grad():
            logits, cache = model.run_with_cache(sequence.tokens[None])
            assert torch.equal(logits, hf_model(sequence.tokens[None]).logits)
            resid = cache["blocks.1.hook_resid_post"]
            readout = model.unembed(model.ln_final(resid))
        assert torch.equal(readout, logits)
        generated = model.generate(
            sequence.tokens[None, :-1], max_new_tokens=2, stop_at_eos=False, verbose=False
        )
        assert generated.shape == (1, 6)

    def test_ids_have_names_and_text_is_refused(self, model):
        tokens = torch.tensor([1, 2, 21])
        assert model.to_str_tokens(tokens) == ["<S>", "<Un0>", "<Un19>"]
        assert model.to_single_str_token(21) == "<Un19>"
        for ask in (
            lambda: model.to_tokens("the zebra"),
            lambda: model.to_str_tokens("the zebra"),
            lambda: model("the zebra"),
        ):
            with pytest.raises(ValueError, match=r"to_tokens: tiny-slam has no text tokenizer"):
                ask()
        with pytest.raises(ValueError, match=r"to_string: tiny-slam has no text tokenizer"):
            model.to_string(tokens)
        with pytest.raises(
            slm_lens.VocabError, match=r"has no text tokens.*Read its units instead"
        ):
            model.sequence_from_text("the zebra")

    def test_is_described(self, model):
        described = slm_lens.describe_model(model)
        assert described["vocabulary"]["text"] == "none"
        assert described["prompt format"]["begins with"] == "<S> (1)"
        assert described["prompt format"]["ends with"] == "<S> (1)"
        assert described["prompt format"]["speech marker"] == "none"


class TestDescription:
    """The rows that depend on the family."""

    @staticmethod
    def described(model, vocab, prompt):
        model.vocab = dataclasses.replace(model.vocab, **vocab)
        model.prompt_format = dataclasses.replace(model.prompt_format, **prompt)
        return slm_lens.describe_model(model)

    def test_slamkit(self, tiny_model):
        described = slm_lens.describe_model(tiny_model)
        assert described["vocabulary"]["recycled rows"] == "none"
        assert described["prompt format"] == {
            "begins with": "none",
            "ends with": "none",
            "speech marker": "<speech> (58)",
            "speech end marker": "none",
            "text marker": "<text> (59)",
            "text end marker": "none",
            "speech-only prompt": "bare",
            "text-only prompt": "marked",
            "going on in the same modality": "marked again",
            "first word of text": "after a space",
            "chat": "none",
        }

    def test_recycled_rows_and_the_units_among_them(self, own_model):
        recycled = [*range(UN0, UN0 + 7), UN0 + 9, SPEECH]
        rows = self.described(own_model, {"recycled": recycled}, {})["vocabulary"]
        assert rows["recycled rows"] == "9 rows: 38-44, 47, 58; units 0-6, 9"
        rows = self.described(own_model, {"recycled": [SPEECH]}, {})["vocabulary"]
        assert rows["recycled rows"] == "1 rows: 58"

    def test_codebooks_that_take_turns(self, own_model):
        two = {"units": range(UN0, UN0 + 20, 2), "codebook_1": range(UN0 + 1, UN0 + 20, 2)}
        rows = self.described(own_model, {"streams": two}, {})["vocabulary"]
        assert rows["speech stream 'units'"] == (
            "10 rows: 38-56 in steps of 2; 25 Hz, deduplicated"
        )
        assert rows["speech stream 'codebook_1'"] == "10 rows: 39-57 in steps of 2"

    def test_pairs_and_turns(self, own_model):
        shown = self.described(
            own_model,
            {"markers": {"speech": SPEECH, "speech_end": TEXT}},
            {
                "before": (1, 0),
                "chat": {"text": Turn(before=(2,), after=())},
                "repeat_marker": False,
                "leading_space": False,
            },
        )["prompt format"]
        assert shown["begins with"] == "<eos> (1) <pad> (0)"
        assert shown["speech end marker"] == "<speech_end> (59), written <text>"
        assert shown["text marker"] == "none"
        assert shown["going on in the same modality"] == "no marker"
        assert shown["first word of text"] == "without a space"
        assert shown["chat turn in text"] == '"<unk>" ... ""'


class TestUnitTokenizer:
    def test_a_given_one_is_used(self, tiny_folder):
        tokenizer = LevelTokenizer(20)
        model = slm_lens.load(tiny_folder.path, unit_tokenizer=tokenizer)
        assert model.unit_tokenizer is tokenizer

    def test_the_one_in_the_folder_is_read_unless_another_is_given(self, tiny_folder, tmp_path):
        folder = shutil.copytree(tiny_folder.path, tmp_path / "copy")
        (folder / "unit_tokenizer.json").write_text('{"kind": "a kind of its own"}')
        with pytest.raises(LookupError, match="got kind 'a kind of its own'"):
            slm_lens.load(folder)
        given = LevelTokenizer(20)
        assert slm_lens.load(folder, unit_tokenizer=given).unit_tokenizer is given

    def test_none_is_an_error_that_says_what_to_do(self, tiny_model):
        assert not hasattr(tiny_model, "unit_tokenizer")
        with pytest.raises(AttributeError, match=r"has no unit tokenizer.*unit_tokenizer=\.\.\."):
            _ = tiny_model.unit_tokenizer

    def test_another_number_of_units_is_refused(self, tiny_folder):
        with pytest.raises(slm_lens.VocabError, match="has 500 units and the vocabulary 20"):
            slm_lens.load(tiny_folder.path, unit_tokenizer=LevelTokenizer(500))

    def test_a_neural_one_is_no_part_of_the_model(self, tiny_folder, tiny_model):
        class NeuralTokenizer(LevelTokenizer, torch.nn.Module):
            def __init__(self):
                torch.nn.Module.__init__(self)
                self.n_units = 20
                self.layer = torch.nn.Linear(3, 3)

        tokenizer = NeuralTokenizer()
        model = slm_lens.load(tiny_folder.path, unit_tokenizer=tokenizer)
        assert tokenizer.training  # TransformerLens' tools would refuse such a part
        assert len(list(model.modules())) == len(list(tiny_model.modules()))


def test_a_copy_keeps_its_parts(own_model):
    twin = copy.deepcopy(own_model)
    tokens = torch.tensor([[3, 4, SPEECH, UN0]])
    assert twin.vocab.markers == own_model.vocab.markers
    assert torch.equal(twin(tokens), own_model(tokens))
