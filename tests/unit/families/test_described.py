"""A description survives its file, and describes checkpoints that no plain class stores."""

import pytest
import torch
import yaml

import slm_lens
from slm_lens import ChatSpec, StreamSpec, VocabSpec, read_vocab_spec

UNITS = {"units": StreamSpec(pattern="<Un{unit}>")}
SPECS = [
    VocabSpec(streams=UNITS),
    VocabSpec(
        streams={
            "style": StreamSpec(offset=9, count=2, frame_rate_hz=24_000 / 2_048),
            "units": StreamSpec(pattern="[Hu{unit}]", count=501, step=4, deduplicated=False),
        },
        markers={"speech": "[Speech]", "speech_end": 7, "text": "#"},
        specials={"<pad>": 0, "no": 1},
        has_text=False,
        before=(),
        after=(1, "</s>"),
        mark_speech_only=True,
        mark_text_only=True,
        repeat_marker=True,
        leading_space=False,
        chat={"text": ChatSpec(before="<|user|>\n: \u2028", after=("<|eot|>", 3))},
        base_rows=12,
        word_policy="prefixes",
        family="mine",
    ),
    VocabSpec(streams=UNITS, specials=["<a>"], before=("<s>",), after=()),
]


def listed(value):
    """Tuples as lists, as YAML has them."""
    return [listed(v) for v in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_written_is_read_again(tmp_path, spec):
    spec.write(tmp_path / "slm_lens.yaml")
    again = read_vocab_spec(tmp_path / "slm_lens.yaml")
    for name in VocabSpec.__dataclass_fields__:
        if name == "chat":
            assert {m: (t.before, listed(t.after)) for m, t in again.chat.items()} == {
                m: (t.before, listed(t.after)) for m, t in spec.chat.items()
            }
        else:
            assert listed(getattr(again, name)) == listed(getattr(spec, name)), name
    assert list(again.streams) == list(spec.streams)


def test_a_file_holds_only_what_was_said(tmp_path):
    SPECS[0].write(tmp_path / "slm_lens.yaml")
    written = yaml.safe_load((tmp_path / "slm_lens.yaml").read_text(encoding="utf-8"))
    assert written == {"streams": {"units": {"pattern": "<Un{unit}>"}}}


def test_a_family_that_is_named_stands_in_the_provenance(tiny_folder, tiny_model):
    spec = VocabSpec(streams=UNITS, markers={"speech": "<speech>", "text": "<text>"}, family="mine")
    model = slm_lens.load(tiny_folder.path, vocab_spec=spec)  # in slamkit's wrapper
    assert model.provenance.family == "mine"
    tokens = torch.tensor([[3, 4, 40]])
    assert torch.equal(model(tokens), tiny_model(tokens))


def test_chatglm_weights_are_read_under_a_description(published, loaded):
    spec = VocabSpec(streams={"units": StreamSpec(pattern="<|audio_{unit}|>")})
    model = slm_lens.load(published("GLM-4-Voice").path, vocab_spec=spec)
    assert model.provenance.family == "described"
    assert not model.vocab.markers
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(model(tokens), loaded("GLM-4-Voice")(tokens))


def test_the_name_of_a_family_is_text(tmp_path):
    path = tmp_path / "slm_lens.yaml"
    path.write_text('streams: {units: {pattern: "<{unit}>"}}\nfamily: 3\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"unsuitable values \{'family': 3\}"):
        read_vocab_spec(path)
