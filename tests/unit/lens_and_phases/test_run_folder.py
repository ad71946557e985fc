"""A run's folder, and the report that is made of it: its numbers are those of the tables."""

import json
import re

import numpy as np
import polars as pl
import pytest
import soundfile
from tiny_speech import FUNCTION

from slm_lens.report.html_report import headlines, report_run, run_page
from slm_lens.report.phase_report import report_phases
from slm_lens.report.run_folder import RATE_HZ, read_run
from slm_lens.studies.phase_study import study_phases


@pytest.fixture(scope="module")
def study(model, utterances):
    return study_phases(
        model,
        utterances[:4],
        policy="whole_word",
        function_words=FUNCTION,
        n_draws=2,
        n_bootstrap=10,
        n_grids=3,
    )


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    sound = out / "elsewhere.wav"
    soundfile.write(sound, 0.5 * np.sin(np.arange(4 * RATE_HZ) / 40), 2 * RATE_HZ)
    clips = {"sentence 0": sound, "sentence 2": sound, "sentence 3": sound}  # 3 has no grid
    report_phases([study], out / "run", clips=clips, settings={"command": "a test"})
    return out / "run"


def test_it_is_read_back(study, folder):
    run = read_run(folder)
    (found,) = run.models
    assert found.phases.summary() == study.phases.summary()
    assert found.words.table.equals(study.words.table)
    assert [g.utterance for g in found.grids] == ["sentence 0", "sentence 1", "sentence 2"]
    for one, again in zip(study.grids, found.grids, strict=True):
        assert again.to_frame().equals(one.to_frame())
    assert set(run.clips) == {"sentence 0", "sentence 2"}
    assert run.settings == {"command": "a test"}
    assert "slm-lens" in run.packages
    samples, rate_hz = soundfile.read(run.clips["sentence 0"])
    assert (rate_hz, len(samples)) == (RATE_HZ, 2 * RATE_HZ)


def test_grids_are_those_of_the_study(model, utterances, study):
    from slm_lens.lens.lens_grid import lens_grid

    grid = lens_grid(model, utterances[1], policy="whole_word", positions=False, n_follow=24)
    assert study.grids[1].to_frame().equals(grid.to_frame())


def view_of(page, title):
    (found,) = (v for v in page.views if v.title == title)
    return found


def as_frame(view):
    """The columns that the page sends, as a table again."""
    columns = {}
    for column in view.data["columns"]:
        values = column["values"].tolist()
        if column["kind"] == "string":
            values = [None if v == 0 else column["spellings"][v - 1] for v in values]
        elif column["kind"] == "whole":
            values = [None if np.isnan(v) else int(v) for v in values]
        else:
            values = [None if np.isnan(v) else v for v in values]
        columns[column["name"]] = values
    return columns


def same_numbers(sent, table):
    for name, values in sent.items():
        expected = table[name].to_list()
        if table[name].dtype == pl.Boolean:
            expected = [None if v is None else str(v).lower() for v in expected]
        expected = [None if v != v else v for v in expected]
        assert values == expected, name


def test_numbers_of_the_page_are_those_of_the_parquet_files(folder):
    page = run_page(read_run(folder))
    curves = pl.read_parquet(folder / "tiny" / "phases.parquet")
    sent = as_frame(view_of(page, "Curves of tiny"))
    assert len(sent["estimate"]) == len(curves)
    same_numbers(sent, curves)
    words = pl.read_parquet(folder / "tiny" / "word_lens.parquet")
    sent = as_frame(view_of(page, "Words of tiny"))
    assert {"rank_current_text_max", "speech_mass"} <= set(sent)
    same_numbers(sent, words)


def test_headlines_are_those_of_the_summary(study, folder):
    table = headlines([study.phases])
    (summary,) = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    for word, key in (("current word", "current_word"), ("next word", "next_word")):
        rows = table.filter(pl.col("word") == word)
        assert set(rows["layer"]) == {summary[key]["layer"]}
        for k in (1, 5):
            row = rows.filter(control="none", k=k)
            assert row["recall"].item() == summary[key][f"recall_at_{k}"]
        at_5 = rows.filter(control="none", k=5)
        assert [at_5["low"].item(), at_5["high"].item()] == summary[key]["interval_at_5"]
        shuffled = rows.filter(control="shuffled", k=5)["recall"].item()
        assert shuffled == summary[key]["shuffled_at_5"]


def test_the_report_is_one_file_that_asks_for_nothing(folder, tmp_path):
    path = report_run(folder, tmp_path / "out" / "report.html")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert not re.findall(r"<(?:script|img|link|iframe)[^>]+(?:src|href)\s*=", text)
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    titles = [part.title for part in run_page(read_run(folder)).parts]
    assert "Explore the utterances" in titles
    assert "Settings and provenance" in titles


def test_without_grids_there_is_nothing_to_explore(study, tmp_path):
    from dataclasses import replace

    report_phases([replace(study, grids=())], tmp_path)
    titles = [part.title for part in run_page(read_run(tmp_path)).parts]
    assert "Explore the utterances" not in titles
    assert read_run(tmp_path).clips == {}


class TestRefused:
    def test_no_run(self, tmp_path):
        with pytest.raises(LookupError, match=r"report_run: no run.json in"):
            report_run(tmp_path, tmp_path / "report.html")

    def test_another_version(self, folder, tmp_path):
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        text = json.dumps(facts | {"schema_version": 0})
        (tmp_path / "run.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"has schema version 0 and .*expected version 1"):
            read_run(tmp_path)

    @pytest.mark.parametrize("place", ["clips/0009.flac", "../elsewhere.wav"])
    def test_sound_that_is_not_in_the_folder(self, folder, tmp_path, place):
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        text = json.dumps(facts | {"clips": {"sentence 0": place}})
        (tmp_path / "run.json").write_text(text, encoding="utf-8")
        (tmp_path.parent / "elsewhere.wav").write_bytes(b"")
        with pytest.raises(ValueError, match=r"which are not in the folder"):
            read_run(tmp_path)

    def test_models_of_different_utterances(self, study):
        from slm_lens.views.explorer import explorer_view

        with pytest.raises(ValueError, match=r"explorer_view: got lens grids of {}"):
            explorer_view({}, {})
        with pytest.raises(ValueError, match=r"for each model the same utterances"):
            explorer_view({"a": study.grids, "b": study.grids[1:]}, {})
