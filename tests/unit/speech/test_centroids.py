"""Centroids on disk: safetensors and .npy are read, pickles are not."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from slm_lens.speech.centroids import load_centroids, save_centroids

CENTROIDS = torch.tensor([[0.5, 1.0, -2.0], [0.25, 0.0, 3.0]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_both_formats_give_float32_rows(tmp_path, dtype):
    save_file({"centroids": CENTROIDS.to(dtype)}, tmp_path / "km.safetensors")
    np.save(tmp_path / "km.npy", CENTROIDS.to(dtype).numpy())
    for name in ("km.safetensors", "km.npy"):
        loaded = load_centroids(tmp_path / name)
        assert loaded.dtype == torch.float32
        assert loaded.tolist() == CENTROIDS.tolist()


def test_saving_replaces_the_file_and_leaves_nothing_else(tmp_path):
    (tmp_path / "km.safetensors").write_text("old")
    save_centroids(tmp_path / "km.safetensors", CENTROIDS.double())
    assert load_centroids(tmp_path / "km.safetensors").tolist() == CENTROIDS.tolist()
    assert [p.name for p in tmp_path.iterdir()] == ["km.safetensors"]


def test_saving_that_fails_leaves_the_old_file(tmp_path):
    (tmp_path / "km.safetensors").write_text("old")
    with pytest.raises(ValueError, match=r"save_centroids: got centroids of shape \(2, 3\)"):
        save_centroids(tmp_path / "km.safetensors", CENTROIDS / 0)
    with pytest.raises(ValueError, match=r"expected a path that ends in .safetensors"):
        save_centroids(tmp_path / "km.npy", CENTROIDS)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("name", ["km.bin", "km.pt", "km.npy", "km.safetensors"])
def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(CENTROIDS.numpy()))
    with pytest.raises(
        ValueError, match=rf"got a pickle .*runs code.*slm-lens convert-kmeans .*{name}.*--allow-p"
    ):
        load_centroids(tmp_path / name)


def test_an_object_array_is_not_unpickled(tmp_path):
    np.save(tmp_path / "km.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"cannot be read as .npy \(Object arrays cannot"):
        load_centroids(tmp_path / "km.npy")


def test_files_of_another_kind_are_named(tmp_path):
    (tmp_path / "km.csv").write_text("1,2")
    (tmp_path / "km.safetensors").write_text("no tensors here")
    (tmp_path / "empty.npy").touch()
    np.save(tmp_path / "int.npy", np.ones((2, 2), dtype=np.int64))
    with (tmp_path / "archive.npy").open("wb") as file:
        np.savez(file, a=np.ones(2))
    save_file({"codebook": CENTROIDS}, tmp_path / "other.safetensors")
    save_file({"centroids": CENTROIDS[0]}, tmp_path / "flat.safetensors")
    for name, message in {
        "km.csv": r"got a file ending in '.csv'.*expected .safetensors or .npy",
        "km.safetensors": "cannot be read as .safetensors",
        "empty.npy": r"cannot be read as .npy",
        "int.npy": r"its dtype is int64",
        "archive.npy": r"it is an .npz archive",
        "other.safetensors": r"got tensors \['codebook'\], expected 'centroids'",
        "flat.safetensors": r"shape \(3,\), expected finite numbers of shape \(n_units, d_model\)",
    }.items():
        with pytest.raises(ValueError, match=message):
            load_centroids(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"absent.npy: got no such file"):
        load_centroids(tmp_path / "absent.npy")
