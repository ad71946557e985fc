"""Items that are broken or hostile: each is named with its reason, and all others are read."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import soundfile
from short_clips import write_clips

from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.run_config import run_config
from slm_lens.errors import RunError

N_GOOD = 304


def _alignment(path, words):
    about = {"file_name": path.stem, "aligned_text": words}
    path.with_suffix(".json").write_text(json.dumps(about))


def _empty(sound):
    sound.write_bytes(b"")


def _cut_off(sound):
    samples, rate_hz = soundfile.read(sound)
    whole = sound.with_suffix(".wav")
    soundfile.write(whole, samples, rate_hz)
    sound.unlink()
    whole.write_bytes(whole.read_bytes()[:-999])


def _no_sound(sound):
    sound.write_text("not a sound")


def _silent(sound):
    soundfile.write(sound, np.zeros(32_000), 16_000)


def _not_finite(sound):
    sound.unlink()
    samples = np.full(32_000, np.nan, dtype=np.float32)
    soundfile.write(sound.with_suffix(".wav"), samples, 16_000, subtype="FLOAT")


def _an_hour(sound):
    soundfile.write(sound, np.zeros(3600 * 8000, dtype=np.int16), 8000)


def _outside(sound):
    outside = sound.parent.parent / "secret.flac"
    shutil.move(sound, outside)
    sound.symlink_to(outside)


def _pipe(sound):
    sound.unlink()
    os.mkfifo(sound.with_suffix(".wav"))


def _no_words(sound):
    sound.with_suffix(".json").unlink()


def _two_alignments(sound):
    sound.with_suffix(".ctm").touch()


def _no_json(sound):
    sound.with_suffix(".json").write_text('{"aligned_text": [')


def _deep_json(sound):
    sound.with_suffix(".json").write_text("[" * 100_000)


def _overlapping(sound):
    _alignment(sound, [["a", 0.0, 0.5], ["b", 0.2, 0.7]])


def _past_the_end(sound):
    _alignment(sound, [["a", 0.0, 99.0]])


def _endless_time(sound):
    text = '{"file_name": "x", "aligned_text": [["a", 0, 1' + "0" * 4000 + "]]}"
    sound.with_suffix(".json").write_text(text)


def _half_a_character(sound):
    _alignment(sound, [["\ud800", 0.0, 0.5]])


BROKEN = {
    _empty: ("read", "AudioError", "0 bytes"),
    _cut_off: ("read", "AudioError", "The file is cut off"),
    _no_sound: ("read", "AudioError", "libsndfile cannot decode"),
    _silent: ("read", "AudioError", "digital silence"),
    _not_finite: ("read", "AudioError", "NaN or infinite"),
    _an_hour: ("read", "AudioError", r"a clip of 3600\.0 s, expected at most 120 s"),
    _outside: ("read", "ValueError", "leaves the data's folder"),
    _pipe: ("read", "LookupError", "expected a file in the data's folder"),
    _no_words: ("read", "AlignmentError", "0 alignment files beside it"),
    _two_alignments: ("read", "AlignmentError", "2 alignment files beside it"),
    _no_json: ("read", "AlignmentError", "not JSON"),
    _deep_json: ("read", "AlignmentError", "not JSON"),
    _overlapping: ("read", "AlignmentError", "overlap"),
    _past_the_end: ("read", "AlignmentError", "clip"),
    _endless_time: ("read", "", "digits|number of seconds"),
    _half_a_character: ("read", "ValueError", "half a character"),
}


def _config(folder, out, **changes):
    entries = {
        "model": {"name": "organism"},
        "data": {"format": "folder", "path": str(folder)},
        "out": str(out),
        "phases": {"n_draws": 2},
        **changes,
    }
    return run_config(entries)


@pytest.fixture(scope="module")
def organism():
    import slm_lens

    return slm_lens.load("organism")


@pytest.mark.slow
def test_every_good_item_is_there_and_every_bad_one_is_named(organism, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    names = write_clips(folder, N_GOOD + len(BROKEN))
    # Five in a hundred, spread over the data: every twentieth clip.
    bad = dict(zip(names[7::20], BROKEN, strict=True))
    assert len(bad) / len(names) == 0.05
    for name, damage in bad.items():
        damage(folder / f"{name}.flac")
    run = run_corpus(_config(folder, tmp_path / "run"), model=organism)
    assert run.items.collect()["name"].to_list() == [n for n in names if n not in bad]
    errors = run.errors.collect()
    assert errors["name"].to_list() == list(bad)
    for row, damage in zip(errors.rows(named=True), bad.values(), strict=True):
        stage, error, reason = BROKEN[damage]
        assert row["stage"] == stage, row
        assert not error or row["error"] == error, row
        assert re.search(reason, row["reason"]), row
    assert set(run.words.collect()["utterance"]) == set(names) - set(bad)
    assert "16 ITEMS COULD NOT BE USED" in run.summary()
    assert "304 of 320 items read" in run.summary()


def test_strict_stops_at_the_first(organism, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    names = write_clips(folder, 3)
    _silent(folder / f"{names[1]}.flac")
    with pytest.raises(RunError, match=r"item 'clip-001' \(clip-001\.flac\) cannot.*'read'"):
        run_corpus(_config(folder, tmp_path / "run", strict=True), model=organism)
    assert not list((tmp_path / "run" / "leases").iterdir())
    run = run_corpus(_config(folder, tmp_path / "run"), model=organism)
    assert run.errors.collect()["name"].to_list() == ["clip-001"]


def test_the_second_item_of_a_name_is_an_error(organism, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clips(folder, 2)
    shutil.copy(folder / "clip-001.flac", folder / "clip-001.wav")
    run = run_corpus(_config(folder, tmp_path / "run"), model=organism)
    (error,) = run.errors.collect().rows(named=True)
    assert (error["place"], error["stage"]) == ("clip-001.wav", "name")
    assert "named 'clip-001' too" in error["reason"]
