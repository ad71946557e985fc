"""docs/families.md: its table is the code's, and its examples run, on tiny checkpoints.

Blocks of the page that need weights are marked ``python no-run`` there. Here each runs in a folder
with a tiny checkpoint of the same layout under the name that the page uses.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_mimi import tiny_mimi
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from writing import SENTENCES, hf_model, llama_3_tokenizer, own_weights, write_config
from writing import write_safetensors as write_weights

import slm_lens
from slm_lens.families.overview import as_markdown, family_rows, in_backticks
from slm_lens.families.registry import BUILT_IN

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
N_UNITS = 12


def section(title: str) -> str:
    """A section of the page, up to the next heading of its level or a higher one."""
    text = PAGE[PAGE.index(f"\n{title}\n") + 1 :]
    level = len(title.split(" ")[0])
    following = re.search(rf"^#{{2,{level}}} ", text[len(title) :], re.MULTILINE)
    return text[: len(title) + following.start()] if following else text


def blocks(text: str, *infos: str) -> list[str]:
    """Code of the fenced blocks of these kinds, in order."""
    return [m["code"] for m in FENCE.finditer(text) if m["info"].strip() in infos]


def test_the_table_is_that_of_the_code():
    documented = re.search(r"<!-- families -->\n(.*)<!-- /families -->", PAGE, re.DOTALL)
    assert documented is not None
    assert documented[1] == as_markdown(family_rows(BUILT_IN, in_backticks)), (
        "docs/families.md is not up to date. Put the output of `slm-lens families --markdown` "
        "between its two markers."
    )


@pytest.fixture
def checkpoints(published, tmp_path, monkeypatch):
    """A folder with a tiny checkpoint under each name of the page."""
    names = {
        "slprl/SIMS-7B": published("SIMS, Llama base").path,
        "Qwen/Qwen2.5-7B": published("SIMS, Llama base").load["text_tokenizer"],
        "slprl/slam": published("Slam").path,
        "TWIST-1.3B": published("TWIST, OPT").path,
        "spirit-lm-base-7b": published("Spirit LM base").path,
        "zai-org/glm-4-voice-9b": published("GLM-4-Voice").path,
        "llm-jp/Llama-Mimi-1.3B": published("Llama-Mimi").path,
        "canopylabs/orpheus-3b-0.1-pretrained": published("Orpheus").path,
    }
    for name, path in names.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_adapter(checkpoint: Path, out: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint)
    lora = LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(str(out))


# peft asks transformers for a name that is on its way out, and misses the base model's name.
@pytest.mark.filterwarnings("ignore:The PEFT config's .base_model_name_or_path.:UserWarning")
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_every_way_to_load_runs(checkpoints):
    write_adapter(checkpoints / "llm-jp/Llama-Mimi-1.3B", checkpoints / "my-lora")
    tiny_mimi(codebook_size=16).save_pretrained(checkpoints / "kyutai/mimi")
    soundfile.write("clip.wav", np.sin(np.arange(8_000) / 20), 16_000)
    names = {}
    loading = blocks(section("## Load one"), "python no-run")
    assert len(loading) == 9
    for code in loading:
        exec(compile(code, "families.md", "exec"), names)
    families = {n: m.provenance.family for n, m in names.items() if hasattr(m, "provenance")}
    assert families == {
        "model": "llama-mimi",
        "slam": "slam",
        "twist": "twist",
        "spirit": "spirit-lm",
        "glm": "glm-4-voice",
        "merged": "llama-mimi",
        "live": "llama-mimi",
        "orpheus": "orpheus",
    }
    assert names["model"].unit_tokenizer is names["codec"]
    assert names["live"].provenance.adapter == "my-lora (live)"
    # bos, marker, 7 frames of 4 codes (half a second at 12.5 Hz, rounded up), marker
    assert len(names["sequence"]) == 1 + 1 + 7 * 4 + 1
    assert len(names["prompt"]) == 1 + 2 * 7  # marker, two frames, no end


def test_the_conversion_runs(checkpoints):
    names = {"slm_lens": slm_lens, "AutoModelForCausalLM": AutoModelForCausalLM}
    for code in blocks(section("## Convert to a plain folder"), "python no-run"):
        exec(compile(code, "families.md", "exec"), names)
    assert names["folder"] == Path("glm-4-voice-hf")
    assert names["model"].provenance.family == "glm-4-voice"
    assert type(names["plain"]).__name__ == "GlmForCausalLM"
    assert (checkpoints / "glm-4-voice-hf" / "slm_lens.yaml").is_file()


def write_echo(path: Path) -> None:
    """The checkpoint of the page's own family: a plain Llama whose tokenizer has its tokens."""
    path.mkdir()
    units = [f"<|unit_{u}|>" for u in range(N_UNITS)]
    ids = llama_3_tokenizer(path, [*units, "<|hear|>", "<|/hear|>"])
    model = hf_model(LlamaConfig, LlamaForCausalLM, len(ids), tie_word_embeddings=False)
    write_config(path, model)
    write_weights(path, own_weights(model))


def install(site: Path, code: str, pyproject: str) -> None:
    """What pip would put there: the module, and metadata with the entry points."""
    project = tomllib.loads(pyproject)["project"]
    (site / "echo_speech.py").write_text(code, encoding="utf-8")
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"]
    lines = [
        line
        for group, entries in groups.items()
        for line in [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def run_elsewhere(code: str, folder: Path, *sites: Path) -> str:
    """Run code in a new process, as a user's script."""
    path = os.pathsep.join([*map(str, sites), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_family_of_another_package_is_found(tmp_path):
    text = section("### Write a family")
    (module,) = blocks(text, "python")
    (pyproject,) = blocks(text, "toml")
    (use,) = blocks(text, "python no-run")
    site = tmp_path / "site"
    site.mkdir()
    install(site, module, pyproject)
    write_echo(tmp_path / "echo-1b")
    code = f"import slm_lens\n{use}\nprint(model.prompt_format, model.vocab.n_units())\n"
    code += "from slm_lens.cli.main import app\napp(['families'], standalone_mode=False)\n"
    code += f"print(list(model.sequence_from_text({SENTENCES[0]!r}).kinds))"
    printed = run_elsewhere(code, tmp_path, site)
    assert "mark_speech_only=True" in printed
    assert f") {N_UNITS}\n" in printed
    assert "EchoSpeech: your paper" in printed
    assert "units: 200, 50 Hz, deduplicated" in printed  # as its specimen has them
    assert "HubertKMeans" in printed
    # Without the package nothing is recognised, and the message names what to do.
    without = (
        "import slm_lens\ntry:\n    slm_lens.load('echo-1b')\n"
        "except ValueError as error:\n    print(error)"
    )
    assert "See docs/families.md." in run_elsewhere(without, tmp_path)


def test_a_class_can_be_handed_over(tmp_path):
    (module,) = blocks(section("### Write a family"), "python")
    names: dict[str, Any] = {"__name__": "echo_speech"}
    exec(compile(module, "families.md", "exec"), names)
    write_echo(tmp_path / "echo-1b")
    model = slm_lens.load(tmp_path / "echo-1b", family=names["EchoSpeech"]())
    assert model.provenance.family == "echo"
    assert model.vocab.n_units() == N_UNITS


def test_a_description_in_either_form_divides_the_same_vocabulary(tmp_path, monkeypatch):
    text = section("### Describe a checkpoint")
    (written,) = blocks(text, "yaml")
    (code,) = blocks(text, "python")
    (use,) = blocks(text, "python no-run")
    monkeypatch.chdir(tmp_path)
    write_echo(tmp_path / "echo-1b")
    names = {}
    exec(compile(code + use, "families.md", "exec"), names)
    python = names["model"]
    (tmp_path / "echo-1b" / "slm_lens.yaml").write_text(written, encoding="utf-8")
    beside = slm_lens.load("echo-1b")
    assert slm_lens.read_vocab_spec("slm_lens.yaml") == names["spec"]
    assert slm_lens.read_vocab_spec("echo-1b/slm_lens.yaml") == names["spec"]
    for model in (python, beside):
        assert model.provenance.family == "described"
        assert list(model.vocab.streams["units"]) == list(range(281, 281 + N_UNITS))
        assert dict(model.vocab.markers) == {"speech": 293, "speech_end": 294}
    assert beside.prompt_format == python.prompt_format
