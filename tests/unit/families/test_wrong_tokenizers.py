"""Tokenizers that are damaged, of another size or in another order: refused, or told as padding."""

import json
import os
import shutil
from typing import Any

import pytest
import torch
from damage import edit_json, over
from folders import N
from slamkit_folders import byte_tokenizer

import slm_lens

# Layout -> written form of a unit, and how many there are.
UNITS = {
    "SIMS, Qwen2 base": ("<Un{}>", 20),
    "Spirit LM base": ("[Hu{}]", 501),
    "Spirit LM expressive": ("[Hu{}]", 501),
    "GLM-4-Voice": ("<|audio_{}|>", 64),
    "Llama-Mimi": ("<{}_0>", 16),
    "Orpheus": ("<custom_token_{}>", 28_683),
    "Ichigo": ("<|sound_{:04d}|>", 512),
    "SpeechGPT": ("<{}>", 1000),
}
WITH_UNITS = over(UNITS)
WITH_TOKENIZER = over([*UNITS, "SODA"])
FORWARD = torch.arange(4)[None] + 5


def rename(folder, names):
    """Give tokens other written forms, wherever the folder has them."""
    for path in folder.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        for old, new in names.items():
            for ascii_only in (False, True):
                text = text.replace(json.dumps(old, ensure_ascii=ascii_only), json.dumps(new))
        path.write_text(text, encoding="utf-8")
    model = folder / "tokenizer.model"
    if model.is_file() and not model.read_bytes().startswith(b"AA=="):  # not tiktoken's base64
        edit_pieces(folder, lambda p: setattr(p, "piece", names.get(p.piece, p.piece)))


def edit_pieces(folder, change):
    """Change every piece of a SentencePiece model in place."""
    edit_model(folder, lambda proto: [change(piece) for piece in proto.pieces])


def edit_model(folder, change):
    """Change a SentencePiece model in place."""
    from transformers.convert_slow_tokenizer import import_protobuf

    pb2: Any = import_protobuf()
    proto = pb2.ModelProto()
    proto.ParseFromString((folder / "tokenizer.model").read_bytes())
    change(proto)
    (folder / "tokenizer.model").write_bytes(proto.SerializeToString())


class TestFiles:
    @WITH_TOKENIZER
    @pytest.mark.parametrize("share", [0, 0.5, 0.99])
    def test_cut_short(self, own_copy, load_copy, layout, share):
        folder = own_copy(layout)
        (path,) = (p for p in folder.glob("tokenizer.*") if p.suffix in (".json", ".model"))
        os.truncate(path, int(share * path.stat().st_size))
        with pytest.raises(ValueError, match=r"load: the tokenizer in .* cannot be read \("):
            load_copy(layout)

    @pytest.mark.parametrize("n_lines", [1, 200, 262])
    def test_ranks_cut_short_at_the_end_of_a_line(self, own_copy, load_copy, n_lines):
        path = own_copy("GLM-4-Voice") / "tokenizer.model"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:n_lines]))
        with pytest.raises(
            ValueError,
            match=rf"load: .*\(it has {n_lines} ranks, and the first added token has id 266",
        ):
            load_copy("GLM-4-Voice")

    @pytest.mark.parametrize("change", [{260: 270}, {3: 4}, {265: 10**12}, {265: -1}])
    def test_ranks_that_are_not_counted_through(self, own_copy, load_copy, change):
        path = own_copy("GLM-4-Voice") / "tokenizer.model"
        lines = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(f"{t} {change.get(int(r), r)}\n" for t, r in lines))
        with pytest.raises(
            ValueError, match=r"load: .*\(it has 266 ranks, .* expected each number"
        ):
            load_copy("GLM-4-Voice")

    @pytest.mark.parametrize("layout", ["Spirit LM base", "SpeechGPT"])
    def test_pieces_cut_short_at_the_end_of_one(self, own_copy, load_copy, layout):
        """What is left is a whole protocol buffer, of fewer pieces and without settings."""

        def change(proto):
            del proto.pieces[300:]
            proto.ClearField("normalizer_spec")

        edit_model(own_copy(layout), change)
        with pytest.raises(
            ValueError, match=r"load: .*ends after 300 pieces, without its settings"
        ):
            load_copy(layout)

    def test_sentencepiece_that_is_not_bpe(self, own_copy, load_copy):
        edit_model(
            own_copy("SpeechGPT"), lambda proto: setattr(proto.trainer_spec, "model_type", 1)
        )
        with pytest.raises(ValueError, match=r"load: .*model_type is 1, and not 2, BPE"):
            load_copy("SpeechGPT")

    @pytest.mark.parametrize("layout", ["Spirit LM base", "GLM-4-Voice", "Ichigo"])
    @pytest.mark.parametrize(
        "content",
        [
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 143\n",
            b"\xff\xfe\x00",
            b"null",
            b"[]",
            b"{}",
            b'{"added_tokens": 5, "model": {}}',
        ],
        ids=["git-lfs pointer", "bytes", "null", "list", "object", "odd object"],
    )
    def test_another_file_under_this_name(self, own_copy, load_copy, layout, content):
        folder = own_copy(layout)
        (path,) = (p for p in folder.glob("tokenizer.*") if p.suffix in (".json", ".model"))
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"load: the tokenizer in .* cannot be read \("):
            load_copy(layout)

    @WITH_TOKENIZER
    def test_missing(self, own_copy, load_copy, layout):
        for path in own_copy(layout).glob("*token*"):
            if path.is_file():
                path.unlink()
        with pytest.raises(
            ValueError, match=r"load: .* (is of no known family|has no tokenizer\.json, expected)"
        ):
            load_copy(layout)

    @pytest.mark.parametrize(
        ("file", "entries", "message"),
        [
            ("tokenizer_config.json", {"eos_token": 5}, r"has {'eos_token': 5}, expected"),
            ("tokenizer_config.json", {"bos_token": {"id": 1}}, r"has {'bos_token'"),
            ("tokenizer_config.json", {"model_max_length": "x"}, r"has {'model_max_length'"),
            ("tokenizer_config.json", {"added_tokens_decoder": {"x": 3}}, r"cannot be read"),
            (
                "tokenizer_config.json",
                {"added_tokens_decoder": {"9000": {"content": "<new>"}}},
                r"give id 9000 to '<new>', which gets|to have id 9000",
            ),
            ("special_tokens_map.json", {"pad_token": [1]}, r"has {'pad_token'"),
        ],
    )
    @pytest.mark.parametrize("layout", ["Ichigo", "Spirit LM base", "GLM-4-Voice"])
    def test_settings(self, own_copy, load_copy, layout, file, entries, message):
        path = own_copy(layout) / file
        if not path.is_file():
            path.write_text("{}")
        if "added_tokens_decoder" in entries and layout == "GLM-4-Voice":
            message = r"is of no known family|cannot be read"  # the only place of its tokens
        edit_json(path, lambda c: c.update(entries))
        with pytest.raises(ValueError, match=rf"(?s)load: .*({message})"):
            load_copy(layout)

    @pytest.mark.parametrize("layout", ["Ichigo", "Spirit LM base", "SpeechGPT"])
    def test_empty_names_are_none(self, own_copy, load_copy, loaded, layout):
        """LLaMA's first port has them in its settings."""
        edit_json(
            own_copy(layout) / "tokenizer_config.json",
            lambda c: c.update(bos_token="", eos_token="", unk_token=""),
        )
        model = load_copy(layout)
        assert list(model.vocab.streams["units"]) == list(loaded(layout).vocab.streams["units"])
        assert model.vocab.kind_of.tolist() == loaded(layout).vocab.kind_of.tolist()


class TestUnits:
    @WITH_UNITS
    def test_one_missing_in_the_middle(self, own_copy, load_copy, layout):
        pattern, n_units = UNITS[layout]
        rename(own_copy(layout), {pattern.format(7): "<gone>"})
        with pytest.raises(
            slm_lens.VocabError, match=rf"load: .*has {n_units - 1} units .* on ids that are"
        ):
            load_copy(layout)

    @WITH_UNITS
    def test_two_in_each_others_place(self, own_copy, load_copy, layout):
        pattern, n_units = UNITS[layout]
        a, b = pattern.format(11), pattern.format(12)
        folder = own_copy(layout)
        for names in ({a: "<x>"}, {b: a}, {"<x>": b}):
            rename(folder, names)
        with pytest.raises(
            slm_lens.VocabError, match=rf"load: .*has {n_units} units .* on ids that are"
        ):
            load_copy(layout)

    @WITH_UNITS
    def test_one_of_another_place_for_the_last(self, own_copy, load_copy, layout):
        pattern, n_units = UNITS[layout]
        rename(own_copy(layout), {pattern.format(n_units - 1): pattern.format(n_units + 5)})
        with pytest.raises(slm_lens.VocabError, match=rf"load: .* {n_units} units of stream"):
            load_copy(layout)

    def test_a_codebook_that_is_not_whole(self, own_copy, load_copy):
        rename(own_copy("SODA"), {chr(0xE000 + 3000): "<gone>"})
        with pytest.raises(slm_lens.VocabError, match=r"load: .* has 3000 audio characters .*2048"):
            load_copy("SODA")

    @pytest.mark.parametrize("layout", sorted({*UNITS} - {"Llama-Mimi", "Orpheus"}))
    def test_fewer_than_the_model_had(self, own_copy, load_copy, loaded, layout):
        """Nothing tells it: the rows of the others are text, or padding where no token has them."""
        pattern, n_units = UNITS[layout]
        rename(own_copy(layout), {pattern.format(n_units - 1): "further"})
        vocab, freed = load_copy(layout).vocab, loaded(layout).vocab.streams["units"][-1]
        assert vocab.n_units() == n_units - 1
        assert freed in vocab.text or freed in vocab.specials.values()

    def test_fewer_than_a_frame_needs(self, own_copy, load_copy):
        rename(own_copy("Llama-Mimi"), {"<15_0>": "further"})
        model = load_copy("Llama-Mimi")
        assert [model.vocab.n_units(s) for s in model.vocab.streams] == [15, 16, 16, 16]


class TestSize:
    @WITH_TOKENIZER
    def test_larger_than_the_embedding(self, published, layout):
        larger = slm_lens.load(published(layout).path).tokenizer
        n_rows = published(layout).d_vocab
        n_new = n_rows - max(larger.get_vocab().values())
        larger.add_tokens([f"<new {i}>" for i in range(n_new)])
        message = rf"has {n_rows} rows .* 1 tokens have ids outside them \(\[{n_rows}\]\)"
        if layout == "GLM-4-Voice":  # whose ids leave gaps, which transformers does not look at
            message = r"gives id 342 to '<new 0>' and to '<\|audio_42\|>'"
        with pytest.raises(slm_lens.VocabError, match=rf"load: .*{message}"):
            slm_lens.load(published(layout).path, text_tokenizer=larger)

    @pytest.mark.parametrize("layout", ["Ichigo", "Spirit LM base"])
    def test_smaller_leaves_padding(self, loaded, layout):
        """As published: Ichigo has one row more than tokens, Spirit LM nine."""
        vocab = loaded(layout).vocab
        assert len(vocab.padding) == {"Ichigo": 1, "Spirit LM base": 9}[layout]
        assert [vocab.label(i) for i in vocab.padding] == [f"<padding {i}>" for i in vocab.padding]

    @pytest.mark.parametrize("off", [-19, -1, 1, 5])
    def test_a_bare_one_has_to_leave_room_for_500_units(self, published, off):
        """SIMS: the ids of all units follow from its size, so one token more shifts them all."""
        tokenizer = byte_tokenizer(bos=True, puts_bos=True)
        if off > 0:
            tokenizer.add_tokens([f"<new {i}>" for i in range(off)])
        else:
            kept = byte_tokenizer(bos=True, puts_bos=True).backend_tokenizer
            tokenizer = shorter(kept, -off)
        with pytest.raises(
            slm_lens.VocabError,
            match=rf"load: the text tokenizer has {N + off} tokens .* {500 - off} for .* 500\.",
        ):
            slm_lens.load(published("SIMS, Llama base").path, text_tokenizer=tokenizer)

    @pytest.mark.parametrize("n_left", [127, 128])
    def test_one_with_units_that_leaves_rows_over(self, published, n_left):
        """SIMS: its embedding has as many rows as there are tokens; padding is at most to 128."""
        tokenizer = byte_tokenizer(bos=True, puts_bos=True)
        units = [f"<Un{u}>" for u in range(500 - n_left)]
        tokenizer.add_tokens([*units, "<speech>", "<text>"])
        path = published("SIMS, Llama base").path
        if n_left < 128:
            model = slm_lens.load(path, text_tokenizer=tokenizer)
            assert len(model.vocab.padding) == n_left
            return
        with pytest.raises(
            slm_lens.VocabError,
            match=rf"load: .* {N + 502} rows .* token is {N + 373}, which leaves 128 rows",
        ):
            slm_lens.load(path, text_tokenizer=tokenizer)

    def test_a_text_tokenizer_for_units_alone(self, published):
        tokenizer = byte_tokenizer(bos=False, puts_bos=False)
        with pytest.raises(
            slm_lens.VocabError, match=r"load: .* has units and no text, and got a tokenizer"
        ):
            slm_lens.load(published("Slam").path, text_tokenizer=tokenizer)


def shorter(backend, n):
    """A byte-level tokenizer without its last `n` tokens."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    content = json.loads(backend.to_str())
    vocab = content["model"]["vocab"]
    last = sorted(vocab, key=vocab.get)[-n:]
    content["model"]["vocab"] = {t: i for t, i in vocab.items() if t not in last}
    content["model"]["merges"] = [
        pair for pair in content["model"]["merges"] if not {*pair, "".join(pair)} & set(last)
    ]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        bos_token="<|begin|>",
        eos_token="<|end|>",
    )


class TestIds:
    def test_a_gap_between_added_tokens(self, own_copy, load_copy):
        """`tokenizers` would close it, and every later unit would be off by one."""

        def change(content):
            tokens = content["added_tokens"]
            tokens.remove(next(t for t in tokens if t["content"] == "<|sound_0007|>"))

        edit_json(own_copy("Ichigo") / "tokenizer.json", change)
        with pytest.raises(
            ValueError, match=r"load: .* id 289 to '<\|sound_0008\|>', which gets 288 .* 506 tokens"
        ):
            load_copy("Ichigo")

    @pytest.mark.parametrize("other", [5, 300, 10**6, -1])
    def test_an_id_that_another_token_has(self, own_copy, load_copy, other):
        def change(content):
            tokens = {t["content"]: t for t in content["added_tokens"]}
            tokens["<|sound_0007|>"]["id"] = other

        edit_json(own_copy("Ichigo") / "tokenizer.json", change)
        with pytest.raises(
            ValueError, match=rf"load: .* (id {other} to '<\|sound_0007\|>'|cannot be read)"
        ):
            load_copy("Ichigo")

    @pytest.mark.parametrize("token", ["<|user|>", "<|audio_0|>", "<|audio_3|>"])
    def test_an_added_token_at_the_id_of_text(self, own_copy, load_copy, token):
        def change(content):
            decoder = content["added_tokens_decoder"]
            key = next(i for i, t in decoder.items() if t["content"] == token)
            decoder["65"] = decoder.pop(key)

        edit_json(own_copy("GLM-4-Voice") / "tokenizer_config.json", change)
        with pytest.raises(
            ValueError, match=r"load: .*266 ranks, and the first added token has id 65;"
        ):
            load_copy("GLM-4-Voice")

    def test_two_added_tokens_of_one_name(self, own_copy, load_copy):
        edit_json(
            own_copy("GLM-4-Voice") / "tokenizer_config.json",
            lambda c: c["added_tokens_decoder"].update({"290": {"content": "<|user|>"}}),
        )
        with pytest.raises(ValueError, match=r"load: .*two added tokens have one written form"):
            load_copy("GLM-4-Voice")

    def test_added_tokens_that_do_not_follow_the_pieces(self, own_copy, load_copy):
        edit_json(own_copy("SpeechGPT") / "added_tokens.json", lambda c: c.update({"<5>": 2000}))
        with pytest.raises(
            ValueError, match=r"load: .* token '<6>' is to have id 336 and gets 335"
        ):
            load_copy("SpeechGPT")

    def test_a_unit_with_a_second_name(self, own_copy, load_copy):
        """In a byte-level vocabulary two pieces may have one id."""

        def change(content):
            content["model"]["vocab"]["zz"] = N + 3

        edit_json(own_copy("SIMS, Qwen2 base") / "tokenizer.json", change)
        with pytest.raises(ValueError, match=r"load: .*(gives id 284 to|give id \d+ to)"):
            load_copy("SIMS, Qwen2 base")

    def test_pieces_that_look_like_the_list_of_added_tokens(self, own_copy, load_copy):
        """The list is looked for in the text of the file; here it is behind the pieces."""

        def change(content):
            vocab, added = content["model"]["vocab"], content.pop("added_tokens")
            for like in ("added_tokens", '"added_tokens": [', 'x"added_tokens'):
                vocab[like] = vocab.pop(max(vocab, key=vocab.get))
                content["model"]["merges"] = []
            content["added_tokens"] = [a | {"id": a["id"] + 1} for a in added]

        edit_json(own_copy("SIMS, Qwen2 base") / "tokenizer.json", change)
        with pytest.raises(ValueError, match=r"load: .*give id \d+ to .*, which gets"):
            load_copy("SIMS, Qwen2 base")


def test_a_vocabulary_smaller_than_its_description(published):
    described = slm_lens.VocabSpec(
        streams={"units": slm_lens.StreamSpec(offset=100, count=10**9)}, has_text=False
    )
    with pytest.raises(
        slm_lens.VocabError,
        match=r"load: .* has 504 rows .*stream 'units' has the ids 100 to 1000000099; expected",
    ):
        slm_lens.load(published("TWIST, Llama").path, vocab_spec=described)
    negative = slm_lens.VocabSpec(
        streams={"units": slm_lens.StreamSpec(offset=4, count=5)},
        specials={"<s>": -1},
        has_text=False,
    )
    with pytest.raises(slm_lens.VocabError, match=r"load: .*token '<s>' has the ids -1 to -1"):
        slm_lens.load(published("TWIST, Llama").path, vocab_spec=negative)


def test_described_parts_that_overlap(published):
    described = slm_lens.VocabSpec(
        streams={"units": slm_lens.StreamSpec(offset=4, count=500)},
        specials={"<s>": 7},
        has_text=False,
    )
    with pytest.raises(slm_lens.VocabError, match=r"load: .* has no parts: .*id 7 .*claimed twice"):
        slm_lens.load(published("TWIST, Llama").path, vocab_spec=described)


def test_an_offset_without_room_for_the_units(own_copy, load_copy):
    edit_json(own_copy("TWIST, Llama") / "config.json", lambda c: c.update(offset=5))
    with pytest.raises(slm_lens.VocabError, match=r"load: .* 504 rows .* offset 5, expected room"):
        load_copy("TWIST, Llama")


@pytest.mark.parametrize("name", ["bos_token", "eos_token", "unk_token", "pad_token"])
@pytest.mark.parametrize("file", ["special_tokens_map.json", "tokenizer_config.json"])
def test_an_empty_name_is_no_name(published, tmp_path, name, file):
    """As LLaMA's first port has it; a name in the other file still counts."""
    folder = shutil.copytree(published("Ichigo").path, tmp_path / "copy")
    path = folder / file
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(entries | {name: ""}), encoding="utf-8")
    tokenizer = slm_lens.load(folder).tokenizer
    assert "" not in (getattr(tokenizer, n) for n in ("bos_token", "eos_token", "pad_token"))
    text = " the lion"
    own = slm_lens.load(published("Ichigo").path).tokenizer
    bare = tokenizer.encode(text, add_special_tokens=False)
    assert bare == own.encode(text, add_special_tokens=False)
