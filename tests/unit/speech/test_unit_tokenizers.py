"""A folder names its kind of unit tokenizer, or the message says what it should name."""

import json

import pytest
import torch

from slm_lens.speech.mfcc import MfccKMeans
from slm_lens.speech.unit_tokenizers import load_unit_tokenizer
from slm_lens.speech.units import Units, UnitTokenizer


@pytest.mark.parametrize("dedup", [True, False])
def test_mfcc_units_from_a_folder(tmp_path, dedup):
    generator = torch.Generator().manual_seed(0)
    saved = MfccKMeans(torch.randn(6, 39, generator=generator), dedup=dedup)
    saved.save(tmp_path)
    loaded = load_unit_tokenizer(tmp_path)
    assert isinstance(loaded, UnitTokenizer)
    waveform = torch.randn(16_000, generator=generator)
    units = loaded.encode(waveform)
    assert isinstance(units, Units)
    assert units.ids.tolist() == saved.encode(waveform).ids.tolist()
    assert (loaded.n_units, loaded.dedup) == (6, dedup)


def test_a_folder_without_the_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"without unit_tokenizer.json"):
        load_unit_tokenizer(tmp_path)


@pytest.mark.parametrize("about", [{"kind": "snac"}, {}])
def test_an_unknown_kind_lists_the_valid_ones(tmp_path, about):
    (tmp_path / "unit_tokenizer.json").write_text(json.dumps(about))
    with pytest.raises(LookupError, match=r"got kind .*expected one of hubert_kmeans, mfcc_kmeans"):
        load_unit_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "which is not JSON"),
        (b"\xff\xfe\x00", "which is not JSON"),
        (b"[1]", "got a list in"),
        (b'{"kind": "hubert_kmeans", "layer": 1, "dedup": true}', "got hubert=None.*type str"),
        (b'{"kind": "hubert_kmeans", "hubert": "h", "dedup": true}', "got layer=None.*type int"),
        (
            b'{"kind": "hubert_kmeans", "hubert": "h", "layer": true, "dedup": true}',
            "got layer=True.*type int",
        ),
        (b'{"kind": "hubert_kmeans", "hubert": "h", "layer": 1}', "got dedup=None.*type bool"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, message):
    (tmp_path / "unit_tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_unit_tokenizer(tmp_path)
