"""What the phase report prints and writes."""

import json
from dataclasses import asdict, replace

import pytest
from handmade import PROVENANCE, word_table

from slm_lens.phases.measure import measure_phases
from slm_lens.report.phase_report import report_phases
from slm_lens.studies.phase_study import PhaseStudy

WORDS = [
    {"utterance": u, "current": [9, 1, 3, 9], "next": [9, 9, 1, 6], "speech": [0.9, 0.2, 0.3, 0.96]}
    for u in ("a", "b")
]  # alike, so that every interval is a point
MODEL = "/a/folder/whose name is longer than eighty columns/and has [brackets]/and :smile:/in it/m"
OF_MODEL = replace(PROVENANCE, name=MODEL)


def study(**options):
    words = word_table(WORDS, n_layers=3, provenance=OF_MODEL)
    return PhaseStudy(words, measure_phases(words, n_bootstrap=10, **options))


@pytest.mark.parametrize("columns", ["40", "200"])
def test_every_row_and_sentence_is_one_line_at_any_width(tmp_path, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    out = tmp_path / "a folder with a long name" / "[bold]"
    one = study(controls={"random weights": word_table(WORDS, n_layers=3)})
    report_phases([one], out)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{MODEL}: 2 utterances, 2 content words"
    assert lines[1] == (
        "sims, Qwen2ForCausalLM, float32, eager attention, hooked forward, no adapter, "
        "compatibility mode off"
    )
    cells = [[c.strip() for c in line.split("│")[1:4]] for line in lines if line.startswith("│")]
    assert cells == [
        ["layer", "1 [1, 1]", "2 [2, 2]"],
        ["recall@1", "1.000 [1.000, 1.000]", "1.000 [1.000, 1.000]"],
        ["recall@5", "1.000 [1.000, 1.000]", "1.000 [1.000, 1.000]"],
        ["recall@5, shuffled words", "0.000 [0.000, 0.000]", "0.000 [0.000, 0.000]"],
        ["recall@5, frequency-matched words", "0.000 [0.000, 0.000]", "0.000 [0.000, 0.000]"],
        ["recall@5, random weights", "1.000 [1.000, 1.000]", "1.000 [1.000, 1.000]"],
        ["next minus current, layers", "1 [1, 1]", ""],
        ["speech mass at the last layer", "0.960 [0.960, 0.960]", ""],
        ["mostly speech from layer", "3 [3, 3]", ""],
    ]
    verdict = [line.split(":")[0].strip() for line in lines[-5:-2]]
    assert verdict == ["transcription", "next word in text", "return to speech"]
    assert lines[-1] == (
        f"Wrote {out}/summary.json, phases.png, phases.svg, and the tables per model."
    )
    (summary,) = json.loads((out / "summary.json").read_text())
    assert summary["model"] == MODEL
    assert summary["provenance"] == asdict(OF_MODEL) | {"hooks": []}
    assert (out / "m" / "phases.parquet").is_file()
