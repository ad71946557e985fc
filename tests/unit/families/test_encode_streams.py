"""``slm-lens encode`` for a model of several speech streams."""

import json

import numpy as np
import soundfile
from tiny_mimi import tiny_mimi
from typer.testing import CliRunner

import slm_lens
from slm_lens.cli.main import app


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()  # a progress bar of transformers goes to stderr


def test_every_stream_is_shown(published, tmp_path):
    codec = slm_lens.MimiCodes(tiny_mimi(codebook_size=16), n_codebooks=4)
    codec.save(tmp_path / "codec")
    clip = tmp_path / "clip.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000)
    soundfile.write(clip, noise, 24_000)
    given = ["encode", clip, "--model", published("Llama-Mimi").path]
    given += ["--unit-tokenizer", tmp_path / "codec"]

    summary, *streams = run(*given)
    assert summary == f"{clip}: 1.04 s, 13 units at 12.5 Hz"  # a second, and the frame begun
    assert [line.split(":")[0] for line in streams] == [
        "units", "codebook_1", "codebook_2", "codebook_3"
    ]  # fmt: skip
    codes = [[int(c) for c in line.split(":")[1].split()] for line in streams]
    assert all(len(stream) == 13 and set(stream) <= set(range(16)) for stream in codes)

    words = tmp_path / "clip.json"
    words.write_text(json.dumps({"file_name": "clip", "aligned_text": [[" it", 0.0, 0.24]]}))
    (row,) = [line for line in run(*given, "--alignment", words) if line.startswith("│ it")]
    first = [f"<Un{codes[0][0]}>", *(f"<codebook_{q} {codes[q][0]}>" for q in (1, 2, 3))]
    assert row.split("│")[4].strip().startswith(" ".join(first))
    assert row.count("<Un") == 3  # a quarter of a second is three frames
