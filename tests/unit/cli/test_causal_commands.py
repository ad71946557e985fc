"""``slm-lens patch``, ``trace``, ``steer`` and ``continue``: their options, tables and files."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import slm_lens
from slm_lens.cli.main import app, main
from slm_lens.cli.pair_options import numbers
from slm_lens.cli.patch import MetricName, metrics_of

TABLE = """\
name,clean,corrupted,clean_modality,corrupted_modality,answer,foil
zebra,the zebra lives in the,the tiger lives in the,text,text,desert,village
forest,the forest is,the garden is,text,text,muddy,windy
"""


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["slm-lens", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


def test_patch_a_table_of_pairs(tmp_path, table):
    out = tmp_path / "out"
    output = run(
        "patch", "organism", table, "--out", out, "--layers", "2,6-7", "--metric",
        "logit_difference", "--metric", "rank", "--kind", "resid_mid", "--at", "roles",
        "--fit", "ends", "--direction", "noising",
    )  # fmt: skip
    assert "organism: noising of resid_mid, at roles, fit ends; 2 pairs" in output
    assert f"2 pairs of {table}" in output
    assert "recovery of logit_difference" in output
    assert names_in(out) == [
        "patching.json", "patching.parquet", "patching_logit_difference.png",
        "patching_logit_difference.svg", "patching_rank.png", "patching_rank.svg",
    ]  # fmt: skip
    found = slm_lens.Patching.read(out)
    assert (found.direction, found.at, found.fit) == ("noising", "roles", "ends")
    assert found.provenance is not None
    assert (found.provenance.name, found.provenance.forward) == ("organism", "fast")
    assert sorted(found.table["layer"].unique().to_list()) == [2, 6, 7]
    model = slm_lens.load("organism")
    expected = slm_lens.patch_pairs(
        model,
        slm_lens.read_pairs(model, table),
        "resid_mid",
        metrics=[slm_lens.logit_difference(), slm_lens.answer_rank()],
        direction="noising",
        at="roles",
        fit="ends",
        layers=[2, 6, 7],
    )
    assert found.table.equals(expected.table)
    estimate = found.summary("logit_difference")["estimate"].to_list()
    assert all(f"{x:.3f} [" in output for x in estimate)


def test_patch_single_heads_and_layers_of_another_source(tmp_path, table):
    output = run(
        "patch", "organism", table, "--out", tmp_path / "heads", "--layers", "5", "--kind", "z",
        "--heads", "each",
    )  # fmt: skip
    rows = [[c.strip() for c in r.split("│")[1:3]] for r in output.splitlines() if "│" in r]
    assert rows == [["5", str(head)] for head in range(4)]
    assert names_in(tmp_path / "heads") == ["patching.json", "patching.parquet"]
    assert "No figure of this: it has several numbers for each layer and role" in output
    run(
        "patch", "organism", table, "--out", tmp_path / "between", "--layers", "5", "--heads", "1",
        "--kind", "v", "--source-layers", "3-4",
    )  # fmt: skip
    found = slm_lens.Patching.read(tmp_path / "between").table
    assert found.select("source_layer", "layer", "head").unique().sort("source_layer").rows() == [
        (3, 5, 1),
        (4, 5, 1),
    ]


def test_patch_facts(tmp_path):
    spoken = ["--clean", "text", "--corrupted", "text", "--continue-in", "text"]
    output = run(
        "patch", "organism", "facts", *spoken, "--relations", "weather", "--partners", "2",
        "--known", "any", "--pair-seed", "3", "--match", "word_ends", "--layers", "0",
        "--out", tmp_path / "out", "--metric", "kl", "--metric", "text_mass", "--metric",
        "speech_mass",
    )  # fmt: skip
    assert "pairs kept" in output
    assert "(known='any')" in output
    found = slm_lens.Patching.read(tmp_path / "out")
    metrics = found.table["metric"].unique(maintain_order=True).to_list()
    assert metrics == ["kl", "text_mass", "speech_mass"]
    model = slm_lens.load("organism")
    pairs = slm_lens.organism_pairs(
        model, clean="text", corrupted="text", continue_in="text", relations=("weather",),
        n_partners=2, known="any", seed=3, match="word_ends",
    ).pairs  # fmt: skip
    assert found.table["pair"].unique(maintain_order=True).to_list() == [p.name for p in pairs]


def test_trace(tmp_path, table):
    out = tmp_path / "out"
    output = run(
        "trace", "organism", table, "--out", out, "--kind", "mlp_out", "--layers", "1-2",
        "--window", "3", "--severed", "attn_out", "--noise-scale", "2", "--samples", "2",
        "--seed", "5", "--metric", "probability", "--metric", "log_prob", "--unanswered", "keep",
        "--at", "roles",
    )  # fmt: skip
    assert "average indirect effect of mlp_out, window 3, attn_out severed; noise text" in output
    assert "2 samples" in output
    assert "probability, text (total effect " in output
    assert names_in(out) == [
        "tracing.json", "tracing.parquet", "tracing_log_prob_text.png",
        "tracing_log_prob_text.svg", "tracing_probability_text.png",
        "tracing_probability_text.svg",
    ]  # fmt: skip
    model = slm_lens.load("organism")
    expected = slm_lens.causal_trace(
        model,
        slm_lens.subject_runs(slm_lens.read_pairs(model, table)),
        "mlp_out",
        metrics=[slm_lens.answer_probability(), slm_lens.log_prob()],
        layers=[1, 2],
        window=3,
        severed="attn_out",
        noise_scale=2.0,
        n_samples=2,
        seed=5,
        unanswered="keep",
    )
    found = slm_lens.Tracing.read(out)
    assert found.table.equals(expected.table)
    assert found.prompts.equals(expected.prompts)
    assert found.sigma == expected.sigma


def test_prompts_that_are_not_answered_are_counted(tmp_path, table):
    text = TABLE.replace("muddy,windy", "windy,muddy")
    table.write_text(text.replace("text,text,desert,village", "text,text,village,desert"))
    with pytest.raises(ValueError, match=r"got 2 prompts, none of which the model answers"):
        run("trace", "organism", table, "--out", tmp_path / "out")
    table.write_text(TABLE.replace("muddy,windy", "windy,muddy"))
    output = run("trace", "organism", table, "--out", tmp_path / "out", "--samples", "1")
    assert "1 of 2 prompts left out that the model does not answer" in output
    assert slm_lens.Tracing.read(tmp_path / "out").table["prompt"].unique().to_list() == ["zebra"]


def test_a_clean_run_is_traced_once(tmp_path, table):
    again = "again,the zebra lives in the,the bear lives in the,text,text,desert,village\n"
    table.write_text(TABLE + again)
    run("trace", "organism", table, "--out", tmp_path / "out", "--samples", "1", "--layers", "0")
    prompts = slm_lens.Tracing.read(tmp_path / "out").prompts
    assert prompts["prompt"].to_list() == ["zebra", "forest"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["facts", "--policy", "prefixes"], "PAIRS: got 'facts' with --policy, expected only "
                                            "options that go with it: these go with a table"),
        (["facts", "--overlap", "trim", "--missing", "refuse"], "--overlap, --missing"),
        (["a.csv", "--partners", "2", "--pair-seed", "1"], "with --partners, --pair-seed, "
                                                           "expected only options that go with "
                                                           "it: these go with 'facts' alone"),
        (["a.csv", "--continue-in", "text", "--relations", "home"], "--continue-in, --relations"),
        (["a.csv"], "read_pairs: no file at 'a.csv'"),
        (["a.csv", "--layers", "7-2"], "--layers: got '7-2', in which 7-2 has no number, expected "
                                       "the lower one first. Give 2-7."),
        (["a.csv", "--layers", "1-"], "--layers: got '1-', expected whole numbers"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["patch", "trace"])
def test_refused(tmp_path, capsys, monkeypatch, command, arguments, message):
    out = tmp_path / "out"
    error = refused(capsys, monkeypatch, command, "organism", *arguments, "--out", out)
    assert message in error
    assert not out.exists()


def test_heads_and_source_layers_are_numbers(tmp_path, capsys, monkeypatch):
    for option in ("--heads", "--source-layers"):
        error = refused(
            capsys, monkeypatch, "patch", "organism", "facts", "--out", tmp_path, option, "some"
        )
        assert f"{option}: got 'some', expected whole numbers" in error


def test_numbers():
    assert numbers("--layers", None) is None
    assert numbers("--layers", "0, 3,5-7") == [0, 3, 5, 6, 7]
    for wrong in ("", "a", "1-", "-1", "1;2", "1-b", "0,7-2"):
        with pytest.raises(ValueError, match=r"--layers: got"):
            numbers("--layers", wrong)


def test_metrics_have_the_names_of_the_command_line():
    metrics = metrics_of(list(MetricName))
    assert [m.name for m in metrics] == [str(name) for name in MetricName]


def test_pairs_as_a_corpus(tmp_path, table, capsys, monkeypatch):
    arguments = ["--model", "organism", "--data", table, "--format", "pairs"]
    output = run("run", *arguments, "--kind", "patch", "--out", tmp_path / "run")
    assert "2 of 2 items read, 1 of 1 shards done" in output
    run("patch", "organism", table, "--out", tmp_path / "one go")
    found = slm_lens.open_run(tmp_path / "run").patching()
    expected = slm_lens.Patching.read(tmp_path / "one go")
    assert found.table.equals(expected.table)
    assert found.provenance == expected.provenance
    output = run("run", *arguments, "--kind", "trace", "--out", tmp_path / "trace")
    assert "2 of 2 items read" in output
    run("trace", "organism", table, "--out", tmp_path / "traced")
    traced = slm_lens.open_run(tmp_path / "trace").tracing()
    assert traced.table.equals(slm_lens.Tracing.read(tmp_path / "traced").table)
    error = refused(
        capsys, monkeypatch, "run", *arguments, "--kind", "pach", "--out", tmp_path / "x"
    )
    assert "kind is 'pach', expected one of" in error


def test_steer_pairs(tmp_path, table):
    output = run(
        "steer", "organism", table, "--out", tmp_path / "out", "--vector", "difference",
        "--role", "changed", "--strengths", "-1,2", "--layers", "3,5", "--random", "2",
        "--metric", "log_prob", "--metric", "rank", "--seed", "4",
    )  # fmt: skip
    assert f"organism: difference at changed; 2 pairs of {table}" in output
    found = slm_lens.DoseResponse.read(tmp_path / "out")
    assert [s.label for s in found.sites] == ["L3 resid_post", "L5 resid_post"]
    assert (found.strengths, found.seed, found.control.shape[-1]) == ((-1.0, 2.0), 4, 2)
    means = (found.values[0] - found.baseline[0, :, None, None]).mean(0)
    rows = [[c.strip() for c in r.split("│")[1:4]] for r in output.splitlines() if "│" in r]
    assert rows[0][0] == "3"
    assert rows[0][2].startswith(f"{means[0, 1].item():.3f} [")
    assert names_in(tmp_path / "out") == [
        "dose_response.json", "dose_response.parquet", "dose_response_log_prob.png",
        "dose_response_log_prob.svg", "dose_response_rank.png", "dose_response_rank.svg",
    ]  # fmt: skip


def test_steer_pairs_without_random_vectors_before_a_block(tmp_path, table):
    run("steer", "organism", table, "--out", tmp_path, "--layers", "1", "--random", "0",
        "--strengths", "1", "--before")  # fmt: skip
    found = slm_lens.DoseResponse.read(tmp_path)
    assert [s.label for s in found.sites] == ["L1 resid_pre"]
    assert found.control.shape[-1] == 0


def test_continue(tmp_path):
    output = run(
        "continue", "organism", "the zebra lives in the", "--toward", "village", "--away", "desert",
        "--layer", "5", "--strengths", "0,1", "--out", tmp_path / "out", "--max-new-tokens", "4",
        "--continue-in", "text", "--seed", "3", "--temperature", "0",
    )  # fmt: skip
    rows = [[c.strip() for c in r.split("│")[1:5]] for r in output.splitlines() if "│" in r]
    assert [r[0] for r in rows] == ["0", "1"]
    assert "toward village and away from desert at resid_post of layer 5" in output
    found = slm_lens.SteeredPrompt.read(tmp_path / "out")
    assert ["".join(labels).strip() for labels in found.table["labels"]] == [r[3] for r in rows]
    assert names_in(tmp_path / "out") == ["steering.json", "steering.parquet"]
    assert found.seed == 3


def test_continue_a_sound_file_before_a_block(tmp_path):
    from importlib.resources import files

    sound = sorted(Path(str(files("slm_lens").joinpath("data", "held-out"))).glob("*.flac"))[0]
    output = run(
        "continue", "organism", sound, "--audio", "--toward", "text", "--layer", "2", "--before",
        "--strengths", "1", "--start", "3", "--decay", "5", "--out", tmp_path,
        "--max-new-tokens", "2",
    )  # fmt: skip
    assert "at resid_pre of layer 2, from position 3 on, fading over 5" in output
    found = slm_lens.SteeredPrompt.read(tmp_path)
    assert (found.kind, found.layer, found.start, found.decay) == ("resid_pre", 2, 3, 5)
    assert found.n_prompt > 50


def test_continue_refuses(tmp_path, capsys, monkeypatch):
    given = ["continue", "organism", "the zebra", "--toward", "text", "--layer", "1", "--out"]
    error = refused(capsys, monkeypatch, *given, tmp_path, "--strengths", "much")
    assert "--strengths: got 'much', expected numbers such as 0,0.5,1" in error


@pytest.mark.parametrize("command", ["patch", "trace", "steer", "continue"])
def test_a_folder_that_cannot_be_made_is_refused_before_the_work(
    tmp_path, capsys, monkeypatch, command
):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    options = ["--toward", "text", "--layer", "1"] if command == "continue" else []
    error = refused(capsys, monkeypatch, command, "no-model", "a.csv", *options, "--out", out)
    assert f"--out: got '{out}', and nothing can be written in {tmp_path / 'file'}" in error
