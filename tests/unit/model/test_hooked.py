"""What a HookedSLM knows besides being a TransformerBridge."""

import copy
import shutil

import pytest
import soundfile
import torch

import slm_lens
from slm_lens import AlignedWord, Alignment, PromptFormat, Units

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
        assert tiny_model.prompt_format == PromptFormat(SPEECH, TEXT, False, True, None)
        # TransformerLens would put one for every Llama and none for every Qwen2.
        for architecture in ("llama", "qwen2"):
            folder = slamkit_folder(architecture=architecture, tokenizer="bytes with bos")
            model = slm_lens.load(folder.path)
            assert model.prompt_format.bos == 1
            assert model.to_str_tokens(" the") == ["<|begin|>", " the"]
            assert model.to_str_tokens(" the", prepend_bos=False) == [" the"]
            folder = slamkit_folder(architecture=architecture, tokenizer="bytes with unused bos")
            model = slm_lens.load(folder.path)
            assert model.prompt_format.bos is None
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

    def test_from_audio(self, tiny_folder, tmp_path):
        model = slm_lens.load(tiny_folder.path, unit_tokenizer=LevelTokenizer(20))
        # Frames of peak 0.5, 0.5 and 0.26: units 10 and 5 of 20.
        waveform = torch.cat([torch.full((1280,), 0.5), torch.full((640,), 0.26)])
        soundfile.write(tmp_path / "a.wav", waveform.numpy(), 16000, subtype="FLOAT")
        alignment = Alignment((AlignedWord("zebra", 0.0, 0.08),))
        sequence = model.sequence_from_audio(tmp_path / "a.wav", alignment)
        assert sequence.tokens.tolist() == [UN0 + 10, UN0 + 5]
        assert (sequence.words[0].start, sequence.words[0].end) == (0, 1)


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
