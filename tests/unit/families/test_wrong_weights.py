"""Weights that are damaged, incomplete, hostile or of another model: refused, each in its words."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from damage import (
    SMALL,
    edit_json,
    edit_weights,
    is_embedding,
    lm_config,
    over,
    read_weights,
    weight_files,
    write_weights,
)

small_layouts = over(SMALL)
SAFETENSORS = [
    "SIMS, Qwen2 base",
    "Slam",
    "GLM-4-Voice",
    "Llama-Mimi",
    "Ichigo",
]
PICKLES = ["TWIST, OPT", "TWIST, Llama", "Spirit LM base", "Spirit LM expressive", "SpeechGPT"]
SHARDED = ["SIMS, Qwen2 base", "SIMS, Llama base", "GLM-4-Voice", "Ichigo", "SpeechGPT"]
FORWARD = torch.arange(4)[None] + 5


class TestShards:
    @pytest.mark.parametrize("layout", SHARDED)
    def test_a_missing_one(self, own_copy, load_copy, layout):
        last = weight_files(own_copy(layout))[-1]
        last.unlink()
        with pytest.raises(ValueError, match=rf"load: .* lacks \['{last.name}'\], expected all"):
            load_copy(layout)

    @pytest.mark.parametrize("layout", SHARDED)
    def test_without_their_index_they_are_counted_by_name(self, own_copy, load_copy, layout):
        folder = own_copy(layout)
        (index,) = folder.glob("*.index.json")
        index.unlink()
        assert load_copy(layout)(FORWARD).isfinite().all()
        first = weight_files(folder)[0]
        first.unlink()
        with pytest.raises(ValueError, match=rf"load: .* lacks \['{first.name}'\], expected all"):
            load_copy(layout)

    @pytest.mark.parametrize("layout", ["SIMS, Qwen2 base", "SpeechGPT"])
    @pytest.mark.parametrize(
        "name", ["../outside.safetensors", "/etc/passwd", "", 7, None, ["model.safetensors"]]
    )
    def test_an_index_that_names_no_file_beside_it(self, own_copy, load_copy, layout, name):
        (index,) = own_copy(layout).glob("*.index.json")
        edit_json(index, lambda content: content["weight_map"].update({"lm_head.weight": name}))
        with pytest.raises(ValueError, match=r"load: .*expected a weight_map with names of files"):
            load_copy(layout)

    @pytest.mark.parametrize("content", ['{"weight_map": []}', "{}", '{"weight_map": {}}'])
    def test_an_index_without_files(self, own_copy, load_copy, content):
        (index,) = own_copy("Ichigo").glob("*.index.json")
        index.write_text(content)
        with pytest.raises(ValueError, match=r"load: .*expected a weight_map with names of files"):
            load_copy("Ichigo")

    def test_an_index_that_is_cut_short(self, own_copy, load_copy):
        (index,) = own_copy("Ichigo").glob("*.index.json")
        index.write_bytes(index.read_bytes()[:-9])
        with pytest.raises(ValueError, match=r"load: .*index\.json is not JSON .*cut short"):
            load_copy("Ichigo")


class TestSafetensors:
    @pytest.mark.parametrize("layout", SAFETENSORS)
    @pytest.mark.parametrize("share", [0, 0.3, 0.999])
    def test_cut_short(self, own_copy, load_copy, layout, share):
        path = weight_files(own_copy(layout))[0]
        os.truncate(path, int(share * path.stat().st_size))
        with pytest.raises(
            ValueError, match=rf"load: .*{path.name} cannot be read .*whole safetensors file"
        ):
            load_copy(layout)

    @pytest.mark.parametrize(
        "content",
        [
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 143\n",
            b"\xff" * 64,  # a header of 2**64 - 1 bytes
            (2).to_bytes(8, "little") + b"[]",
            (999).to_bytes(8, "little") + b"{}",
        ],
        ids=["git-lfs pointer", "endless header", "no object", "short header"],
    )
    def test_another_file_under_this_name(self, own_copy, load_copy, content):
        (own_copy("Llama-Mimi") / "model.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"load: .*model\.safetensors cannot be read"):
            load_copy("Llama-Mimi")

    def test_a_dtype_of_quantised_weights(self, own_copy, load_copy):
        edit_weights(
            own_copy("Llama-Mimi"),
            lambda name, w: w.to(torch.float8_e4m3fn) if is_embedding(name) else w,
        )
        with pytest.raises(ValueError, match=r"load: .*stores tensors as \['F8_E4M3'\]"):
            load_copy("Llama-Mimi")


class Opener:
    """Unpickled, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


class TestPickles:
    @pytest.mark.parametrize("layout", PICKLES)
    @pytest.mark.parametrize("share", [0, 0.3, 0.999])
    def test_cut_short(self, own_copy, load_copy, layout, share):
        path = weight_files(own_copy(layout))[0]
        os.truncate(path, int(share * path.stat().st_size))
        with pytest.raises(ValueError, match=rf"load: .*{path.name} cannot be read .*is damaged"):
            load_copy(layout)

    @pytest.mark.parametrize(
        "content",
        [
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 143\n",
            b"\x80\x02}q\x00.",
            b"\x80\x02K\x05.",
            b"not a pickle",
            b"PK\x05\x06" + bytes(18),
        ],
        ids=["git-lfs pointer", "an empty dict", "a number", "text", "an empty archive"],
    )
    def test_another_file_under_this_name(self, own_copy, load_copy, content):
        (own_copy("TWIST, OPT") / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(ValueError, match=r"load: .*pytorch_model\.bin cannot be read"):
            load_copy("TWIST, OPT")

    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before zip"])
    @pytest.mark.parametrize("layout", PICKLES)
    def test_code_in_it_is_not_run(self, own_copy, load_copy, tmp_path, layout, legacy):
        path, made = weight_files(own_copy(layout))[0], tmp_path / "made"
        weights = read_weights(path) | {"a": Opener(made)}
        torch.save(weights, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ValueError, match=r"load: .*cannot be read without running its code"):
            load_copy(layout)
        assert not made.exists()

    def test_a_bare_pickle_is_not_run(self, own_copy, load_copy, tmp_path):
        path, made = own_copy("TWIST, OPT") / "pytorch_model.bin", tmp_path / "made"
        path.write_bytes(pickle.dumps(Opener(made)))
        with pytest.raises(ValueError, match=r"load: .*cannot be read without running its code"):
            load_copy("TWIST, OPT")
        assert not made.exists()
        pickle.loads(path.read_bytes()).close()  # it would have
        assert made.exists()

    @pytest.mark.parametrize("layout", PICKLES)
    def test_as_torch_wrote_it_before_zip(self, own_copy, load_copy, loaded, layout):
        for path in weight_files(own_copy(layout)):
            torch.save(read_weights(path), path, _use_new_zipfile_serialization=False)
            assert not zipfile.is_zipfile(path)
        assert (load_copy(layout)(FORWARD) - loaded(layout)(FORWARD)).abs().max() == 0

    @pytest.mark.parametrize(
        "content",
        [
            [torch.ones(3)],
            {"model": {"a": torch.ones(3)}},
            {"step": 4, "a": torch.ones(3)},
            {"a": torch.ones(3).to_sparse()},
            {"a": torch.ones(1).expand(10**6, 10**6)},
            {"a": torch.ones(3, dtype=torch.complex64)},
            {"a": torch.ones(3).to(torch.float8_e4m3fn)},
            {3: torch.ones(3)},
        ],
        ids=[
            "list",
            "nested",
            "a number",
            "sparse",
            "expanded",
            "complex",
            "8 bits",
            "a number as name",
        ],
    )
    def test_more_or_other_than_plain_tensors(self, own_copy, load_copy, content):
        torch.save(content, own_copy("TWIST, OPT") / "pytorch_model.bin")
        with pytest.raises(ValueError, match=r"load: .*expected a state dict of plain tensors"):
            load_copy("TWIST, OPT")


def with_entry(value, dtype=None):
    """A change of one entry of the embedding, and of the head that it may be tied to."""

    def change(name, weight):
        weight = weight if dtype is None else weight.to(dtype)
        if is_embedding(name) or name.endswith(("lm_head.weight", "output_layer.weight")):
            weight[3, 1] = value
        return weight

    return change


class TestValues:
    @small_layouts
    def test_not_a_number(self, own_copy, load_copy, layout):
        edit_weights(own_copy(layout), with_entry(float("nan")))
        with pytest.raises(
            ValueError,
            match=r"load: 1 of \d+ entries of .*embed_tokens.weight in .* are NaN or inf",
        ):
            load_copy(layout)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
    def test_not_finite_in_every_precision(self, own_copy, load_copy, value, dtype):
        edit_weights(own_copy("TWIST, Llama"), with_entry(value, dtype))
        for wanted in (None, torch.float32, torch.bfloat16):
            with pytest.raises(ValueError, match=r"load: 1 of \d+ entries of .* are NaN or inf"):
                load_copy("TWIST, Llama", dtype=wanted)

    @small_layouts
    def test_too_large_for_float16(self, own_copy, load_copy, layout):
        edit_weights(own_copy(layout), with_entry(70_000.0))  # float16 ends at 65,504
        with pytest.raises(
            ValueError, match=r"load: 1 of .* as torch\.float16, expected .* bfloat16"
        ):
            load_copy(layout, dtype=torch.float16)
        assert load_copy(layout, dtype=torch.bfloat16).provenance.dtype == "bfloat16"

    def test_many_large_numbers_are_no_infinity(self, own_copy, load_copy):
        """Their sum is infinite in float16, none of them is."""

        def change(name, weight):
            return torch.full_like(weight, 6e4) if is_embedding(name) else weight

        edit_weights(own_copy("Slam"), change)
        assert load_copy("Slam", dtype=torch.float16).W_E.max() == 6e4

    @pytest.mark.parametrize("layout", ["Slam", "TWIST, OPT", "GLM-4-Voice"])
    def test_whole_numbers(self, own_copy, load_copy, layout):
        edit_weights(
            own_copy(layout), lambda name, w: w.to(torch.int8) if is_embedding(name) else w
        )
        with pytest.raises(
            ValueError, match=r"load: .*stored as whole numbers \(.*embed_tokens.weight torch.int8"
        ):
            load_copy(layout)


class TestOfAnotherModel:
    @small_layouts
    def test_an_embedding_of_other_size_than_the_config_says(self, own_copy, load_copy, layout):
        def change(name, weight):
            return torch.cat([weight, weight[:3]]) if is_embedding(name) else weight

        edit_weights(own_copy(layout), change)
        with pytest.raises(
            ValueError, match=r"load: the embedding in .* rows and its config vocab_size=\d+, exp"
        ):
            load_copy(layout)

    @small_layouts
    def test_a_config_without_the_size_of_the_vocabulary(self, own_copy, load_copy, layout):
        edit_json(own_copy(layout) / "config.json", lambda c: c.pop("vocab_size"))
        if layout == "GLM-4-Voice":  # it counts in padded_vocab_size
            assert load_copy(layout).vocab.d_vocab == 368
            return
        with pytest.raises(ValueError, match=r"load: .*vocab_size=(None|\d+), expected"):
            load_copy(layout)

    @small_layouts
    def test_a_layer_too_many_and_too_few(self, own_copy, load_copy, layout):
        folder = own_copy(layout)
        key = "num_layers" if layout == "GLM-4-Voice" else "num_hidden_layers"
        for n_layers, message in (
            (3, r"missing \['\S+layers\.2\."),
            (1, r"unexpected \['\S+\.1\."),
        ):
            edit_json(folder / "config.json", lambda c, n=n_layers: lm_config(c).update({key: n}))
            with pytest.raises(ValueError, match=rf"load: .*belong together|{message}"):
                load_copy(layout)

    @pytest.mark.parametrize("layout", ["SIMS, Llama base", "Slam", "TWIST, OPT", "Llama-Mimi"])
    def test_tied_in_name_only(self, own_copy, load_copy, layout):
        path = weight_files(own_copy(layout))[0]
        weights = {n: w for p in weight_files(path.parent) for n, w in read_weights(p).items()}
        (embedding,) = (n for n in weights if is_embedding(n))
        head = ("lm." if embedding.startswith("lm.") else "") + "lm_head.weight"
        own = read_weights(path)
        write_weights(path, own | {head: weights[embedding].clone()})
        assert load_copy(layout)(FORWARD).isfinite().all()  # equal, so tied indeed
        write_weights(path, own | {head: weights[embedding] + 1})
        with pytest.raises(ValueError, match=r"load: .*tie_word_embeddings true; expected equal"):
            load_copy(layout)

    @pytest.mark.parametrize("layout", ["SIMS, Llama base", "Slam", "TWIST, OPT", "Llama-Mimi"])
    def test_untied_without_a_head(self, own_copy, load_copy, layout):
        edit_json(
            own_copy(layout) / "config.json",
            lambda c: lm_config(c).update(tie_word_embeddings=False),
        )
        if layout == "TWIST, OPT":  # torch.save keeps the head of a tied model, which is equal
            assert load_copy(layout)(FORWARD).isfinite().all()
            return
        with pytest.raises(ValueError, match=r"load: .*missing \['lm_head.weight'\]"):
            load_copy(layout)

    @small_layouts
    def test_none(self, own_copy, load_copy, layout):
        folder = own_copy(layout)
        for path in [*weight_files(folder), *folder.glob("*.index.json")]:
            path.unlink()
        with pytest.raises(ValueError, match=r"load: .* has no weights, expected model\.safet"):
            load_copy(layout)

    def test_safetensors_go_before_pickles(self, own_copy, load_copy, loaded):
        folder = own_copy("TWIST, Llama")
        weights = {n: w for p in weight_files(folder) for n, w in read_weights(p).items()}
        write_weights(folder / "model.safetensors", weights)
        for path in folder.glob("*.bin"):
            path.write_bytes(b"damaged")
        model = load_copy("TWIST, Llama")
        assert (model(FORWARD) - loaded("TWIST, Llama")(FORWARD)).abs().max() == 0

    def test_of_another_family(self, own_copy, load_copy):
        folder = own_copy("Slam")
        edit_json(folder / "config.json", lambda c: c["base_config"].update(model_type="gpt2"))
        with pytest.raises(ValueError, match=r"load: .*not those of GPT2LMHeadModel"):
            load_copy("Slam")
        edit_json(folder / "config.json", lambda c: c.update(model_type="gpt2"))
        with pytest.raises(ValueError, match=r"load: .* is of no known family"):
            load_copy("Slam")
