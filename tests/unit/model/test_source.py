"""Where checkpoints are: hub ids out of the cache, without a connection, and what is no hub id.

The cache is written in the hub's published layout: ``models--owner--name`` with ``refs`` that hold
a commit, ``snapshots`` by commit, and ``blobs`` that the files of a snapshot are links to.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_session import TOKENS
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from slamkit_folders import write_slamkit_folder
from transformers import AutoModelForCausalLM

import slm_lens
from slm_lens.model.source import EMBEDDED, embedded_folder, find_folder

HERE = Path(__file__).parent
FIRST, SECOND = "1" * 40, "2" * 40


class Cache:
    """A cache of the hub in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def add(self, name, source, *, commit=FIRST, refs=("main",), leave_out=()):
        """Put the files of a folder into the cache as one commit of a repository."""
        repository = self.folder / f"models--{name.replace('/', '--')}"
        snapshot = repository / "snapshots" / commit
        for made in (repository / "refs", repository / "blobs", snapshot):
            made.mkdir(parents=True, exist_ok=True)
        for ref in refs:
            (repository / "refs" / ref).write_text(commit)
        for path in sorted(p for p in source.iterdir() if p.is_file()):
            blob = repository / "blobs" / f"{commit[0]}-{path.name}"
            if path.name not in leave_out:
                shutil.copy(path, blob)
            (snapshot / path.name).symlink_to(Path("..", "..", "blobs", blob.name))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders to put into the cache: two SIMS models, one without a tokenizer, and a LoRA."""
    made = tmp_path_factory.mktemp("hub_sources")
    options = {"n_units": 500, "tokenizer": "bytes with bos", "shards": "index"}
    for name, further in {
        "own": {},
        "other": {"seed": 1},
        "bare": {"with_tokenizer": False},
    }.items():
        write_slamkit_folder(made / name, architecture="llama", **options, **further)
    shutil.copytree(made / "bare" / "text_tokenizer", made / "tokenizer")
    pickled = made / "pickled"
    shutil.copytree(made / "own", pickled)
    weights = {}
    for path in sorted(pickled.glob("*.safetensors")):
        weights |= load_file(path)
        path.unlink()
    next(pickled.glob("*.index.json")).unlink()
    torch.save(weights, pickled / "pytorch_model.bin")
    plain = write_slamkit_folder(made / "plain", architecture="llama", **options).hf_model
    plain.save_pretrained(made / "hf")
    base = AutoModelForCausalLM.from_pretrained(made / "hf")
    tuned = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"]))
    torch.nn.init.ones_(
        tuned.get_parameter(next(n for n, _ in tuned.named_parameters() if "lora_B" in n))
    )
    tuned.save_pretrained(made / "lora")
    return made


REQUESTS = {
    "own": ["owner/own", {}],
    "by tag": ["owner/own", {"revision": "v1"}],
    "by commit": ["owner/own", {"revision": SECOND}],
    "unknown revision": ["owner/own", {"revision": "v9"}],
    "empty revision": ["owner/own", {"revision": ""}],
    "bare": ["owner/bare", {}],
    "tokenizer": ["owner/bare", {"text_tokenizer": "owner/tokenizer"}],
    "no tokenizer": ["owner/bare", {"text_tokenizer": "owner/none"}],
    "adapter": ["owner/own", {"adapter": "owner/lora"}],
    "no adapter": ["owner/own", {"adapter": "owner/none"}],
    "no lora": ["owner/own", {"adapter": "owner/tokenizer"}],
    "none": ["owner/none", {}],
    "pickled": ["owner/pickled", {}],
    "cut": ["owner/cut", {}],
    "weights only": ["owner/half", {}],
    "lost": ["owner/lost", {}],
    "no id": ["owner/-name", {}],
}


@pytest.fixture(scope="module", params=["1", "0"], ids=["offline", "unreachable"])
def answers(request, folders, tmp_path_factory):
    """Answers of a Python of its own with a cache, and no hub to reach."""
    made = tmp_path_factory.mktemp("hub")
    cache = Cache(made / "cache")
    cache.add("owner/own", folders / "own")
    cache.add("owner/own", folders / "other", commit=SECOND, refs=("v1",))
    cache.add("owner/bare", folders / "bare")
    cache.add("owner/tokenizer", folders / "tokenizer")
    cache.add("owner/lora", folders / "lora")
    cache.add("owner/pickled", folders / "pickled")
    cache.add("owner/cut", folders / "own", leave_out=("model-00002-of-00003.safetensors",))
    cache.add("owner/half", folders / "own", leave_out=("config.json",))
    cache.add("owner/lost", folders / "own")
    shutil.rmtree(cache.folder / "models--owner--lost" / "snapshots")
    asked = dict(REQUESTS)
    if request.param == "0":  # a commit by its hash is asked for five times, for 24 seconds
        del asked["by commit"]
    (made / "requests.json").write_text(json.dumps(asked))
    environment = dict(os.environ) | {
        "HF_HUB_CACHE": str(cache.folder),
        "HF_HUB_OFFLINE": request.param,
        "HF_ENDPOINT": "http://127.0.0.1:9",  # where nothing listens
    }
    subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            str(HERE / "hub_session.py"),
            str(made / "requests.json"),
            str(made / "answers.json"),
        ],
        env=environment,
        check=True,
        timeout=300,
    )
    return json.loads((made / "answers.json").read_text())


def logits_of(folder, **options):
    return slm_lens.load(folder, **options)(TOKENS)


@pytest.mark.slow
class TestCached:
    def test_loaded_by_its_id(self, answers, folders):
        got = answers["own"]
        assert (got["name"], got["family"], got["adapter"]) == ("owner/own", "sims", None)
        assert (torch.tensor(got["logits"]) - logits_of(folders / "own")).abs().max() == 0

    def test_revisions(self, answers, folders):
        for name in ("by tag", "by commit"):
            if name in answers:
                got = torch.tensor(answers[name]["logits"])
                assert (got - logits_of(folders / "other")).abs().max() == 0
                assert (got - torch.tensor(answers["own"]["logits"])).abs().max() > 0.1

    def test_tokenizer(self, answers, folders):
        expected = logits_of(folders / "bare", text_tokenizer=folders / "tokenizer")
        assert (torch.tensor(answers["tokenizer"]["logits"]) - expected).abs().max() == 0
        assert "expected text_tokenizer=" in answers["bare"]["message"]

    def test_adapter(self, answers, folders):
        got = answers["adapter"]
        expected = logits_of(folders / "own", adapter=folders / "lora")
        assert (torch.tensor(got["logits"]) - expected).abs().max() == 0
        assert got["logits"] != answers["own"]["logits"]
        assert got["adapter"] == "owner/lora (merged)"

    def test_pickles_where_there_are_no_safetensors(self, answers):
        assert answers["pickled"]["logits"] == answers["own"]["logits"]

    @pytest.mark.parametrize(
        "name",
        [
            "none",
            "no tokenizer",
            "no adapter",
            "lost",
            "no id",
            "unknown revision",
            "empty revision",
        ],
    )
    def test_what_is_not_there(self, answers, name):
        got = answers[name]
        source, options = REQUESTS[name]
        missing = options.get("text_tokenizer") or options.get("adapter") or source
        assert got["error"] == "LookupError"
        assert got["message"].startswith(
            f"load: no folder at {missing!r}, and the hub did not give"
        )
        assert ("in revision" in got["message"]) == ("revision" in options)
        assert "HF_HUB_OFFLINE" in got["message"]

    def test_what_is_there_in_part(self, answers):
        assert "lacks ['model-00002-of-00003.safetensors']" in answers["cut"]["message"]
        assert "has no config.json" in answers["weights only"]["message"]
        assert "has no adapter_config.json" in answers["no lora"]["message"]
        assert {answers[n]["error"] for n in ("cut", "weights only", "no lora")} == {"ValueError"}


class TestNames:
    def test_a_folder_goes_before_the_hub(self, monkeypatch, tmp_path):
        (tmp_path / "owner" / "name").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert find_folder("owner/name") == Path("owner/name")

    def test_an_embedded_name_goes_before_a_folder(self, monkeypatch, tmp_path):
        (tmp_path / "organism").mkdir()
        monkeypatch.chdir(tmp_path)
        assert find_folder("organism") == embedded_folder("organism")
        assert find_folder("./organism") == Path("organism")

    @pytest.mark.parametrize("source", ["organism", "a folder"])
    def test_a_revision_of_something_that_is_not_on_the_hub(self, tiny_folder, source):
        named = tiny_folder.path if source == "a folder" else source
        with pytest.raises(ValueError, match=r"load: got revision='v1' for .*, expected a hub id"):
            slm_lens.load(named, revision="v1")

    def test_a_revision_of_a_model_in_memory(self, tiny_folder):
        with pytest.raises(ValueError, match=r"load: got .* or revision for a model in memory"):
            slm_lens.load(tiny_folder.hf_model, revision="v1")

    @pytest.mark.parametrize(
        "name", ["organisms", "a/b/c", "/no/such/folder", "x" * 5000, "a/" + "x" * 5000, "\0"]
    )
    def test_nothing_of_this_name(self, name):
        with pytest.raises(LookupError, match=r"load: no folder at "):
            slm_lens.load(name)

    def test_an_empty_name(self):
        with pytest.raises(TypeError, match=r"load: got source='', expected a folder or a hub id"):
            slm_lens.load("")

    def test_a_file_is_no_folder(self, tiny_folder):
        with pytest.raises(
            LookupError, match=r"load: .*config\.json' is a file, expected its folder: "
        ):
            slm_lens.load(tiny_folder.path / "config.json")

    def test_embedded(self):
        for name in EMBEDDED:
            assert (embedded_folder(name) / "config.json").is_file()
