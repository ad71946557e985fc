"""What the numbers depend on: in words, compared, and read back from a file or refused."""

import json
from dataclasses import asdict, replace

import pytest

from slm_lens.model._facts import provenance_from, read_facts, write_facts
from slm_lens.model.provenance import Provenance

PLAIN = Provenance(
    name="/models/sims",
    family="sims",
    architecture="Qwen2ForCausalLM",
    dtype="float32",
    attention="eager",
    adapter=None,
    compatibility_mode=False,
    weights_processed=False,
    random_weights_seed=None,
)
FACTS = {"provenance": PLAIN, "n_layers": 3, "words": {"é": 1}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "sims, Qwen2ForCausalLM, float32, eager attention, hooked forward, no adapter, "
            "compatibility mode off",
        ),
        (
            {
                "dtype": "bfloat16",
                "attention": "sdpa",
                "forward": "fast",
                "adapter": "lora (merged)",
                "kernel": "triton",
            },
            "sims, Qwen2ForCausalLM, bfloat16, sdpa attention, fast forward, "
            "adapter lora (merged), compatibility mode off, triton readout",
        ),
        (
            {"compatibility_mode": True, "random_weights_seed": 0},
            "sims, Qwen2ForCausalLM, float32, eager attention, hooked forward, no adapter, "
            "compatibility mode on, "
            "random weights (seed 0)",
        ),
        (
            {"compatibility_mode": True, "weights_processed": True},
            "sims, Qwen2ForCausalLM, float32, eager attention, hooked forward, no adapter, "
            "compatibility mode on "
            "(weights processed)",
        ),
    ],
)
def test_in_words(changes, words):
    assert replace(PLAIN, **changes).in_words() == words
    assert PLAIN.model_and_family == "the model '/models/sims' (family 'sims')"


@pytest.mark.parametrize(
    ("field", "value", "difference"),
    [
        ("dtype", "bfloat16", "dtype 'bfloat16' instead of 'float32'"),
        ("attention", "sdpa", "attention 'sdpa' instead of 'eager'"),
        ("forward", "fast", "forward 'fast' instead of 'hooked'"),
        ("compatibility_mode", True, "compatibility_mode True instead of False"),
        ("weights_processed", True, "weights_processed True instead of False"),
        ("name", "another", None),
        ("family", "another", None),
        ("kernel", "triton", None),  # rounding only
        ("architecture", "another", None),
        ("adapter", "another", None),
        ("random_weights_seed", 3, None),
    ],
)
def test_differences_are_those_that_change_the_numbers_of_one_model(field, value, difference):
    other = replace(PLAIN, **{field: value})
    assert other.differences(PLAIN) == ([] if difference is None else [difference])
    assert PLAIN.differences(PLAIN) == []


@pytest.fixture
def folder(tmp_path):
    """A folder with a table, of which only the name counts here, and its facts."""
    write_facts(tmp_path / "new" / "table.json", FACTS)
    (tmp_path / "new" / "table.parquet").touch()
    return tmp_path / "new"


def read(folder):
    return read_facts(folder, "table", list(FACTS), reader="read_it")


def test_facts_come_back(folder):
    assert read(folder) == FACTS
    written = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    assert written["provenance"] == asdict(PLAIN) | {"hooks": []}


def test_an_interruption_leaves_the_earlier_facts(folder, monkeypatch):
    def interrupted(_part, _to):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_facts(folder / "table.json", {**FACTS, "n_layers": 4})
    assert read(folder) == FACTS
    assert sorted(p.name for p in folder.iterdir()) == ["table.json", "table.parquet"]


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (["table.json"], r"read_it: no table\.json in .*, expected a folder that holds both"),
        (["table.parquet"], r"read_it: no table\.parquet in "),
        (["table.json", "table.parquet"], r"no table\.json and no table\.parquet in .* deeper"),
    ],
)
def test_a_folder_without_the_result_is_refused(folder, absent, message):
    for name in absent:
        (folder / name).unlink()
    with pytest.raises(LookupError, match=message):
        read(folder)


def test_facts_without_provenance_or_of_another_version_are_refused(folder):
    written = json.loads((folder / "table.json").read_text(encoding="utf-8"))

    def change(**changes):
        facts = {k: v for k, v in {**written, **changes}.items() if v != "gone"}
        (folder / "table.json").write_text(json.dumps(facts), encoding="utf-8")

    change(provenance="gone", model="sims")
    with pytest.raises(
        ValueError,
        match=r"read_it: .*table\.json lacks \['provenance'\] and has \['model'\] besides, "
        r"expected what this version .*dtype, attention, compatibility mode.* measure again",
    ):
        read(folder)
    older = {k: v for k, v in asdict(PLAIN).items() if k not in ("dtype", "attention")}
    change(provenance=older)
    with pytest.raises(
        ValueError, match=r"provenance in .*table\.json lacks \['attention', 'dtype'\] and has \[\]"
    ):
        read(folder)
    change(provenance=None)
    with pytest.raises(ValueError, match=r"provenance in .* lacks \['adapter', 'architecture', "):
        read(folder)
    with pytest.raises(ValueError, match=r"^read_it: here lacks \['adapter'"):
        provenance_from("eager", "read_it: here")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_facts_that_are_no_json_are_refused(folder, content):
    (folder / "table.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"read_it: .*table\.json is not JSON \(.*measure again"):
        read(folder)
    (folder / "table.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"lacks \['n_layers', 'provenance', 'words'\]"):
        read(folder)
