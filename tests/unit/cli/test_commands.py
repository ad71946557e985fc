"""The command line: cheap help, short errors, and files that a reader can trust."""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import joblib
import pytest
import soundfile
from typer.testing import CliRunner

from slm_lens.cli.main import app, main
from slm_lens.organism.corpus import held_out_stories

DATA = Path(str(files("slm_lens").joinpath("data")))
HELD_OUT, ORGANISM = DATA / "held-out", DATA / "organism"
HEAVY = ["torch", "transformers", "transformer_lens", "numpy", "polars", "matplotlib"]


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(capsys, monkeypatch, *arguments):
    """Runs ``slm-lens`` as the shell does; returns what it prints to standard error."""
    monkeypatch.setattr(sys, "argv", ["slm-lens", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three held-out clips in a folder of their own."""
    folder = tmp_path_factory.mktemp("clips")
    for sound in sorted(HELD_OUT.glob("*.flac"))[:3]:
        shutil.copy(sound, folder)
        shutil.copy(sound.with_suffix(".json"), folder)
    return folder


@pytest.mark.parametrize(
    "command",
    [[], ["families"], ["inspect"], ["encode"], ["phases"], ["demo"], ["report"], ["convert"],
     ["patch"], ["trace"], ["steer"], ["continue"],
     ["convert-kmeans"], ["organism"], ["organism", "train"], ["organism", "speak"],
     ["organism", "pairs"],
     ["tuned-lens"], ["tuned-lens", "fit"], ["run"]],
    ids=" ".join,
)  # fmt: skip
def test_every_command_has_help(command):
    assert "Usage" in run(*command, "--help")


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom slm_lens.cli.main import main\nsys.argv = ['slm-lens', '--help']\n"
        f"try:\n    main()\nexcept SystemExit:\n    print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_run_takes_a_file_and_flags_and_goes_on(clips, tmp_path, capsys, monkeypatch):
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: {{name: organism}}\ndata: {{format: folder, path: '{clips}'}}\n"
        f"out: '{tmp_path / 'run'}'\nphases: {{n_draws: 2}}\nitems_per_shard: 2\n"
    )
    out = run("run", config)
    assert "3 of 3 items read, 2 of 2 shards done" in out
    flags = ["--model", "organism", "--data", clips, "--format", "folder", "--n-draws", 2]
    flags += ["--out", tmp_path / "run", "--items-per-shard", 2, "--n-readers", 1]
    assert run("run", *flags, "--seed", 0) == out  # nothing was left to do
    assert "n_draws: 3 instead of 2" in refused(capsys, monkeypatch, "run", config, "--n-draws", 3)
    (clips / "x.flac").touch()
    again = ["run", config, "--out", tmp_path / "again"]
    try:
        assert "1 ITEMS COULD NOT BE USED" in run(*again)
        message = refused(capsys, monkeypatch, *again[:3], tmp_path / "strict", "--strict")
    finally:
        (clips / "x.flac").unlink()
    assert "item 'x' (x.flac) cannot be used at the stage 'read'" in message


@pytest.fixture(params=[40, None, 300], ids="{} columns".format)
def columns(request, monkeypatch):
    """A terminal's width as the shell hands it on: no line that a script reads depends on it."""
    if request.param is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(request.param))


@pytest.mark.usefixtures("columns")
def test_inspect_shows_layout_and_vocabulary(tmp_path):
    deep = tmp_path / "a folder with a name that is long" / "[bold]" / "model of mine"
    shutil.copytree(ORGANISM, deep)
    output = run("inspect", deep)
    for shown in ("Qwen2ForCausalLM", "prompt format", "<speech>", "100 rows: 174-273", "tied"):
        assert shown in output
    rows = [[c.strip() for c in row.split("│")[1:3]] for row in output.splitlines() if "│" in row]
    assert [value for name, value in rows if name == "name"] == [str(deep)]


def test_inspect_shows_tokens_in_square_brackets(slamkit_folder):
    # GLM-4-Voice begins with [gMASK], which rich would take for a style and swallow.
    folder = slamkit_folder(architecture="llama", tokenizer="bytes with bos").path
    for file in (folder / "tokenizer.json", folder / "tokenizer_config.json"):
        file.write_text(file.read_text(encoding="utf-8").replace("<|begin|>", "[begin]"))
    assert "[begin] (1)" in run("inspect", folder)


@pytest.mark.usefixtures("columns")
def test_encode_shows_units_and_words(tmp_path):
    sound = tmp_path / "a folder with a name that is long" / "[bold] :smile:" / "clip.flac"
    sound.parent.mkdir(parents=True)
    source = sorted(HELD_OUT.glob("*.flac"))[0]
    shutil.copy(source, sound)
    summary, *more = run("encode", sound).splitlines()
    info = soundfile.info(sound)
    units = [int(u) for u in more[-1].split()]
    seconds = f"{(1 + info.frames // 640) / 25:.2f} s"
    assert summary == f"{sound}: {seconds}, {len(units)} units at 25 Hz (deduplicated)"
    assert len(more) == 1
    assert len(units) > 20
    assert all(0 <= u < 100 for u in units)
    assert all(a != b for a, b in pairwise(units))

    output = run("encode", sound, "--alignment", source.with_suffix(".json")).splitlines()
    assert output[0] == summary
    words = [row.split("│")[1:5] for row in output if row.startswith("│")]
    assert [w.strip() for w, *_ in words] == " ".join(held_out_stories()[0]).split()
    shown = [int(u) for *_, labels in words for u in re.findall(r"<Un(\d+)>", labels)]
    left = iter(units)
    assert all(u in left for u in shown)  # in order; pauses between words are left out
    assert 0.5 < len(shown) / len(units) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forward", "shown"),
    [("fast", "sdpa attention, fast forward"), ("hooked", "eager attention, hooked forward")],
)
def test_phases_through_a_chosen_forward(tmp_path, clips, forward, shown):
    output = run(
        "phases", "organism", clips, "--out", tmp_path, "--n-bootstrap", 50, "--forward", forward
    )
    assert f"float32, {shown}, no adapter" in output
    details = json.loads((tmp_path / "organism" / "phases.json").read_text())
    read = [details["provenance"], *details["control_provenance"].values()]
    assert [p["forward"] for p in read] == [forward, forward]


@pytest.mark.slow
def test_phases_writes_a_report(tmp_path, clips):
    output = run("phases", "organism", clips, "--out", tmp_path / "out", "--n-bootstrap", 50)
    assert "transcription:" in output
    assert "return to speech:" in output
    (summary,) = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["n_utterances"] == 3
    assert summary["provenance"]["name"] == summary["model"] == "organism"
    assert "float32, sdpa attention, fast forward, no adapter, compatibility mode off" in output
    details = json.loads((tmp_path / "out" / "organism" / "phases.json").read_text())
    assert details["provenance"] == summary["provenance"]
    untrained = {**summary["provenance"], "random_weights_seed": 0}
    assert details["control_provenance"] == {"random weights": untrained}
    assert (tmp_path / "out" / "phases.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "out" / "phases.svg").stat().st_size > 1000
    assert any((tmp_path / "out" / "organism").glob("*.parquet"))
    assert not list((tmp_path / "out").rglob(".*"))
    told = run("report", tmp_path / "out", "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.fullmatch(r"Wrote .*report\.html \(\d+\.\d MB\)\.\n", told)
    assert "organism: 3 utterances" in page


@pytest.mark.slow
def test_a_lens_is_fitted_on_clips_and_phases_read_through_it(tmp_path, clips):
    fit = ["tuned-lens", "fit", "organism", "--out", tmp_path / "lens", "--audio", clips]
    options = ["--positions", "text", "--steps", 4, "--batch-size", 3, "--held-out", clips]
    output = run(*fit, *options, "--evaluate-every", 2, "--no-progress")
    facts = json.loads((tmp_path / "lens" / "tuned_lens.json").read_text())
    assert facts["positions"] == "text"
    assert facts["settings"]["batch_size"] == 3
    assert [step for step, _ in facts["evaluations"]] == [2, 4]
    *_, row, _, last = (line for line in output.splitlines() if "tuned lens (text, " in line or
                        "Mean over" in line or "Wrote" in line)  # fmt: skip
    at = [float(cell) for cell in row.split("│")[2:5]]
    assert at[1] == pytest.approx(facts["evaluations"][-1][1], abs=6e-4)  # speech, text, all
    n_written = f"4 steps, {facts['n_positions']} text positions."
    assert last.startswith(f"Wrote {tmp_path / 'lens'}/tuned_lens.safetensors: tuned lens (text, ")
    assert last.endswith(n_written)

    options = ["--n-bootstrap", 0, "--n-draws", 2, "--lens", tmp_path / "lens"]
    output = run("phases", "organism", clips, "--out", tmp_path / "out", *options)
    assert "compatibility mode off; tuned lens (text, " in output
    (summary,) = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["lens"].startswith("tuned lens (text, ")


@pytest.mark.slow
def test_a_lens_is_fitted_on_the_organisms_own_language(tmp_path, capsys, monkeypatch):
    fit = ["tuned-lens", "fit", "organism", "--out", tmp_path / "lens"]
    corpus = ["--organism-corpus", tmp_path / "corpus.npz", "--stories", 2, "--workers", 1]
    output = run(*fit, *corpus, "--steps", 2, "--batch-size", 1)
    assert "2 steps" in output
    assert (tmp_path / "corpus.npz").is_file()
    message = refused(capsys, monkeypatch, *fit, "--steps", 2)
    assert "got --audio None and --organism-corpus None, expected one of them" in message


@pytest.mark.slow
def test_one_clip_is_reported_without_controls_intervals_and_verdict(
    tmp_path, clips, capsys, monkeypatch
):
    one = tmp_path / "one"
    one.mkdir()
    for path in sorted(clips.iterdir())[:2]:
        shutil.copy(path, one)
    options = ["phases", "organism", one, "--out", tmp_path / "out"]
    message = refused(capsys, monkeypatch, *options)
    assert "got one utterance with n_draws=20, expected at least two" in message
    message = refused(capsys, monkeypatch, *options, "--n-draws", 0)
    assert "got one utterance with n_bootstrap=2000, expected at least two" in message
    output = run(*options, "--n-draws", 0, "--n-bootstrap", 0)
    assert "no verdict" in output
    (row,) = [line for line in output.splitlines() if "shuffled words" in line]
    assert row.split("│")[2].strip() == "-"
    (summary,) = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["current_word"]["interval_at_5"] == [None, None]
    assert summary["current_word"]["shuffled_at_5"] is None


@pytest.mark.slow
def test_speak_writes_sound_and_word_times(tmp_path):
    output = run("organism", "speak", "--out", tmp_path)
    sounds = sorted(tmp_path.glob("*.flac"))
    assert output.split() == [str(p) for p in sounds]
    assert len(sounds) == 30
    for sound in sounds:
        info = soundfile.info(sound)
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert sound.with_suffix(".json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "organsim"], "error: load: no folder at 'organsim'"),
        (["encode", "absent.flac"], "error: read_audio: absent.flac: got no such file"),
        (["report", "absent"], "error: report_run: no run.json in absent"),
        (["phases", "organism", "absent", "--out", "out"], "error: clips_of: no folder at"),
    ],
)
def test_a_refused_input_ends_with_its_message(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, monkeypatch, *arguments).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_is_not_opened_without_consent(tmp_path, capsys, monkeypatch):
    source, out = tmp_path / "km.bin", tmp_path / "km.safetensors"
    joblib.dump([1], source)
    error = refused(capsys, monkeypatch, "convert-kmeans", source, out)
    assert error.startswith("error: ")
    assert "expected your consent" in error
    assert not out.exists()


def test_an_unknown_recipe_or_option_is_refused(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    error = refused(capsys, monkeypatch, "organism", "train", "--out", out, "--recipe", "large")
    assert "large" in error
    assert "smoke" in error
    assert not out.exists()
