"""Options that say how to load a model: the same for every command, each with its effect."""

import inspect as python_inspect
import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

import slm_lens
from slm_lens.cli.main import app, main
from slm_lens.cli.model_options import CheckpointOptions, Dtype, ModelOptions, with_options

DATA = Path(str(files("slm_lens").joinpath("data")))
ORGANISM, HELD_OUT = DATA / "organism", DATA / "held-out"
DESCRIPTION = """\
streams:
  units: {pattern: "<Un{unit}>", count: 100, frame_rate_hz: 25}
markers: {speech: <speech>, text: <text>}
word_policy: first_piece
"""


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def shown(*arguments):
    """The rows that ``inspect`` prints."""
    rows = [[c.strip() for c in r.split("│")[1:3]] for r in run("inspect", *arguments).splitlines()]
    return dict(row for row in rows if len(row) == 2)


@pytest.fixture
def description(tmp_path):
    path = tmp_path / "description.yaml"
    path.write_text(DESCRIPTION, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "command", ["inspect", "encode", "phases", "patch", "trace", "steer", "continue", "convert"]
)
def test_every_command_that_loads_a_model_has_the_options(command):
    options = {"--text-tokenizer", "--vocab-spec", "--family", "--adapter", "--dtype"}
    if command != "convert":
        options |= {"--unit-tokenizer", "--device"}
    text = run(command, "--help")
    assert not [o for o in options if o not in text]
    reads = ("phases", "patch", "trace", "steer", "continue")
    default = "float32" if command in reads else "stored"
    assert f"[default: {default}]" in " ".join(text.split())


def test_the_options_of_a_class_take_the_place_of_its_parameter():
    called = []

    def command(name: str, options: CheckpointOptions, n: int = 3) -> None:
        called.append((name, options, n))

    made = with_options(command, dtype=Dtype.float16)
    parameters = python_inspect.signature(made).parameters
    fields = list(CheckpointOptions.__dataclass_fields__)
    assert list(parameters) == ["name", "n", *fields]
    assert parameters["dtype"].default is Dtype.float16
    made(name="a", n=4, **dict.fromkeys(fields[:-1], None), dtype=Dtype.stored)
    assert called == [("a", CheckpointOptions(dtype=Dtype.stored), 4)]
    assert not hasattr(CheckpointOptions(), "device")
    assert ModelOptions().device is None


def test_a_large_checkpoint_is_inspected_as_it_is_stored():
    assert shown("organism")["dtype"] == "float16"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype(dtype):
    assert shown("organism", "--dtype", dtype)["dtype"] == dtype


def test_text_tokenizer_and_device(slamkit_folder):
    folder = slamkit_folder(with_tokenizer=False, n_units=500)
    rows = shown(folder.path, "--text-tokenizer", folder.text_tokenizer, "--device", "cpu")
    assert rows["family"] == "sims"
    assert rows["text only"].startswith("<text> (539)")


def test_family_and_description(description):
    assert shown(ORGANISM, "--family", "sims")["family"] == "sims"
    rows = shown(ORGANISM, "--vocab-spec", description)
    assert rows["family"] == "described"
    assert rows["tokens of a word"] == "first_piece"
    assert rows["speech stream 'units'"] == "100 rows: 174-273; 25 Hz"


def test_unit_tokenizer(tmp_path):
    bare = shutil.copytree(ORGANISM, tmp_path / "bare")
    (bare / "unit_tokenizer.json").unlink()
    assert shown(bare)["unit tokenizer"].startswith("none")
    rows = shown(bare, "--unit-tokenizer", ORGANISM)
    assert rows["unit tokenizer"] == "MfccKMeans: 100 units, 25 Hz, deduplicated"
    sound = sorted(HELD_OUT.glob("*.flac"))[0]
    own = run("encode", sound, "--model", ORGANISM)
    assert run("encode", sound, "--model", bare, "--unit-tokenizer", ORGANISM) == own


# peft asks transformers for a name that is on its way out, and misses the base model's name.
@pytest.mark.filterwarnings("ignore:The PEFT config's .base_model_name_or_path.:UserWarning")
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_adapter_and_convert(tmp_path):
    from peft import LoraConfig, get_peft_model

    plain, adapted = tmp_path / "plain", tmp_path / "adapted"
    assert run("convert", ORGANISM, plain) == (
        f"wrote {plain}; load it with slm_lens.load({str(plain)!r})\n"
    )
    assert {w.dtype for w in load_file(plain / "model.safetensors").values()} == {torch.float16}
    model = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32)
    lora = LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(tmp_path / "lora")
    assert shown(plain, "--adapter", tmp_path / "lora")["adapter"].endswith("lora (merged)")
    run("convert", plain, adapted, "--adapter", tmp_path / "lora", "--dtype", "float32")
    tokens = torch.arange(9)[None]
    with torch.no_grad():
        before = slm_lens.load(plain)(tokens)
        assert not torch.equal(slm_lens.load(adapted)(tokens), before)
        assert torch.equal(slm_lens.load(plain, adapter=tmp_path / "lora")(tokens),
                           slm_lens.load(adapted)(tokens))  # fmt: skip
    assert slm_lens.load(adapted).provenance.family == "sims"


@pytest.mark.slow
@pytest.mark.parametrize(("given", "used"), [([], "first_piece"), (["prefixes"], "prefixes")])
def test_the_policy_is_the_familys_unless_another_is_given(tmp_path, description, given, used):
    clips = tmp_path / "clips"
    clips.mkdir()
    for path in sorted(HELD_OUT.iterdir())[:4]:  # two clips with their words
        shutil.copy(path, clips)
    run(
        "phases", ORGANISM, clips, "--out", tmp_path / "out", "--vocab-spec", description,
        "--n-draws", 1, "--n-bootstrap", 2, *[x for p in given for x in ("--policy", p)],
    )  # fmt: skip
    (facts,) = (tmp_path / "out").rglob("phases.json")
    assert json.loads(facts.read_text())["policy"] == used


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--family", "simz"], "got family 'simz', expected one of"),
        (["--device", "gpu"], "got device='gpu', expected one that torch knows"),
        (["--device", "cuda:99"], "got device='cuda:99' where torch sees"),
        (["--dtype", "float64"], "'float64' is not one of"),
        (["--vocab-spec", "absent.yaml"], "'absent.yaml' does not exist"),
        (["--unit-tokenizer", "absent"], "'absent' does not exist"),
        (["--text-tokenizer", "absent"], "no folder at text_tokenizer='absent'"),
        (["--adapter", "absent"], "no folder at adapter='absent'"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["slm-lens", "inspect", "organism", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
