"""``slm-lens run`` over trials: from YAML, and from flags."""

import json
import shutil

import datasets
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from short_clips import write_clips
from typer.testing import CliRunner

import slm_lens
from slm_lens.cli.main import app


def run(*arguments):
    result = CliRunner().invoke(app, ["run", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two trials of sWUGGY's layout."""
    folder = tmp_path_factory.mktemp("set") / "dev"
    folder.mkdir()
    for number, name in enumerate(write_clips(folder, 4, ending="wav")):
        shutil.move(folder / f"{name}.wav", folder / f"{number}_{name}.wav")
    return folder.parent


def test_flags_do_what_a_file_does(folder, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(
        "kind: score\nmodel: {name: organism}\nscore: {within: speech}\n"
        f"data: {{format: trials, layout: swuggy, subfolders: true, path: '{folder}'}}\n"
        f"out: '{tmp_path / 'file'}'\n"
    )
    assert "2 of 2 items read, 1 of 1 shards done" in run(config)
    flags = ["--kind", "score", "--model", "organism", "--format", "trials", "--data", folder]
    assert "2 of 2 items read" in run(*flags, "--layout", "swuggy", "--out", tmp_path / "flags")
    within, full = (slm_lens.open_run(tmp_path / n).scores() for n in ("file", "flags"))
    assert (within.within, full.within) == ("speech", "full")
    assert within.table.select("trial", "part").equals(full.table.select("trial", "part"))
    assert set(full.table["part"]) == {"dev"}
    # A softmax over a part is the larger one, for every token.
    assert (within.table["sum_log_prob"] > full.table["sum_log_prob"]).all()


def test_tables_and_hugging_face_folders_by_yaml(tmp_path):
    """The same written trials, from Parquet and from the folder that ``datasets`` loads."""
    root = tmp_path / "repo"
    root.mkdir()
    rows = {"q": ["the zebra lives in the"] * 2, "yes": ["savanna"] * 2, "no": ["desert", "river"]}
    pq.write_table(pa.table(rows), root / "test.parquet")
    saved = datasets.Dataset.from_dict(rows, split=datasets.Split.TEST)
    saved.save_to_disk(tmp_path / "saved")
    columns = {"prompt_column": "q", "right_column": "yes", "wrong_column": "no"}
    tables = []
    for data in (
        {"format": "parquet", "path": str(root)},
        {"format": "huggingface", "path": str(tmp_path / "saved"), "split": "test"},
    ):
        entries = {"kind": "score", "model": {"name": "organism"}, "data": data | columns}
        entries["out"] = str(tmp_path / "runs" / data["format"])
        (tmp_path / "run.yaml").write_text(json.dumps(entries))  # JSON is YAML
        assert "2 of 2 items read" in run(tmp_path / "run.yaml")
        tables.append(slm_lens.open_run(entries["out"]).scores().table)
    values = pl.exclude("trial")
    assert tables[0].select(values).equals(tables[1].select(values))
    assert tables[0]["trial"].unique(maintain_order=True).to_list() == [
        "test.parquet:0",
        "test.parquet:1",
    ]
