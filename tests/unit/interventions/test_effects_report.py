"""What ``slm-lens patch`` and ``trace`` print, of results made by hand."""

import re

import polars as pl

from slm_lens.interventions.patching.patching_result import SCHEMA, Patching
from slm_lens.interventions.tracing.tracing_result import PROMPTS, Tracing
from slm_lens.interventions.tracing.tracing_result import SCHEMA as TRACED
from slm_lens.model.provenance import Provenance
from slm_lens.report.effects_report import dose_table, report_patching, report_tracing

PROVENANCE = Provenance("tiny", "by hand", "Qwen2", "float32", "eager", None, False, False, None)


def rows_of(output):
    """Cells of the rows below the heads of tables."""
    return [
        [c.strip() for c in line.strip("│").split("│")]
        for line in output.splitlines()
        if line.startswith("│")
    ]


def patching(rows):
    table = [
        (pair, "z", 1, head, 2, "x", role, 1, metric, *values)
        for pair, head, role, metric, *values in rows
    ]
    frame = pl.DataFrame(table, schema=SCHEMA, orient="row")
    return Patching(frame, "denoising", "words", "warp", "resumed", PROVENANCE)


def test_shares_where_there_is_something_to_divide_by_and_effects_elsewhere(tmp_path, capsys):
    rows = [
        ("a", 0, "changed", "kl", 0.0, 2.0, 1.0),
        ("a", 0, "end", "kl", 0.0, 2.0, 0.5),
        ("b", 0, "changed", "kl", 0.0, 1.0, 0.0),
        ("c", 0, "changed", "kl", 1.0, 1.0, 0.0),  # hardly differs
        ("a", 0, "changed", "next", None, 1.0, 0.5),
        ("a", 0, "changed", "same", 1.0, 1.0, 0.25),
    ]
    report_patching(patching(rows), "3 of 4 pairs kept", tmp_path)
    output = capsys.readouterr().out
    assert "tiny: denoising of z, at words, fit warp; 3 pairs; 3 of 4 pairs kept" in output
    assert "recovery of kl" in output
    assert "effect of next" in output
    assert "effect of same" in output
    assert "1 left out whose clean and corrupted run hardly differ" in output
    assert "Mean over 1 to 2 pairs" in output
    kl, following, same = rows_of(output)
    # source layer 2, layer 1, head 0; shares 1/2 and 1; 3/4 of one pair
    assert kl[:3] == ["2", "1", "0"]
    assert kl[3].startswith("0.750 [")
    assert kl[4] == "0.750"
    assert following[3] == "-0.500"
    assert same[3] == "-0.750"
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [
        ".json", ".parquet", ".png", ".png", ".png", ".svg", ".svg", ".svg"
    ]  # fmt: skip


def test_heads_have_rows_of_their_own_and_no_figure(tmp_path, capsys):
    rows = [("a", head, "end", "kl", 0.0, 2.0, 1.0 + head) for head in (0, 1)]
    report_patching(patching(rows), "1 pair", tmp_path)
    output = capsys.readouterr().out
    assert "No figure of this: it has several numbers for each layer and role" in output
    assert "Mean over 1 pairs [95 % interval, over two or more]" in output
    assert [r[2:] for r in rows_of(output)] == [
        ["0", "0.500"],
        ["1", "0.000"],
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["patching.json", "patching.parquet"]


def test_a_number_that_is_none_has_no_interval(tmp_path, capsys):
    report_patching(patching([("a", 0, "end", "kl", 0.0, 2.0, float("nan"))]), "1 pair", tmp_path)
    assert rows_of(capsys.readouterr().out)[0][3] == "nan"


def test_modalities_of_a_trace_are_apart(tmp_path, capsys):
    values = {"speech": (0.9, 0.1, 0.5), "text": (0.8, 0.2, 0.3)}
    rows = [
        (m, m, "mlp_out", 0, "x", "last", 1, "probability", *v, None) for m, v in values.items()
    ]
    prompts = [(m, m, 9, 1, 2, True, True) for m in values] + [
        ("other", "text", 9, 1, 2, False, False)
    ]
    traced = Tracing(
        pl.DataFrame(rows, schema=TRACED, orient="row"),
        prompts=pl.DataFrame(prompts, schema=PROMPTS, orient="row"),
        kind="mlp_out", at="roles", window=2, severed="attn_out",
        sigma={"speech": 0.51239, "text": 0.25}, n_samples=1, seed=0, engine="resumed",
        provenance=PROVENANCE,
    )  # fmt: skip
    report_tracing(traced, "4 pairs", tmp_path)
    output = capsys.readouterr().out
    assert re.search(
        r"tiny: average indirect effect of mlp_out, window 2, attn_out severed; noise speech "
        r"0\.512, text 0\.25, 1 samples; 1 of 3 prompts left out .*; 4 pairs",
        output,
    )
    assert "probability, speech (total effect 0.800)" in output
    assert "probability, text (total effect 0.600)" in output
    assert rows_of(output) == [
        ["0", "0.400"],
        ["0", "0.100"],
    ]


def test_what_was_measured_is_told(tmp_path, capsys):
    report_patching(patching([("a", 0, "end", "kl", 0.0, 2.0, 1.0)]), "1 pair", tmp_path / "out")
    output = capsys.readouterr().out
    assert f"{PROVENANCE.in_words()}; resumed" in output
    assert f"Wrote {tmp_path / 'out'}/patching.parquet, patching.json" in output


def test_one_run_has_no_spread():
    curves = pl.DataFrame(
        {"layer": [3], "strength": [1.0], "effect": [2.0], "low": [2.0], "high": [2.0],
         "control": [0.5]}
    )  # fmt: skip
    cells = {n: list(dose_table(curves, n).columns[1].cells) for n in (1, 2)}
    assert cells == {1: ["2.000 (0.500)"], 2: ["2.000 [2.000, 2.000] (0.500)"]}
