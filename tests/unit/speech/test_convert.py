"""The published pickles become safetensors, but only with consent."""

import sys
import warnings

import joblib
import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans

from slm_lens.speech.centroids import load_centroids
from slm_lens.speech.convert import convert_kmeans


@pytest.fixture(scope="module")
def kmeans():
    data = np.random.default_rng(0).normal(size=(60, 5))
    return MiniBatchKMeans(n_clusters=4, random_state=0).fit(data)


@pytest.mark.parametrize("compress", [0, 3])
def test_the_centroids_of_a_real_kmeans_are_kept(tmp_path, kmeans, compress):
    joblib.dump(kmeans, tmp_path / "km.bin", compress=compress)
    returned = convert_kmeans(tmp_path / "km.bin", tmp_path / "km.safetensors", allow_pickle=True)
    expected = kmeans.cluster_centers_.astype(np.float32).tolist()
    assert returned.tolist() == expected
    assert load_centroids(tmp_path / "km.safetensors").tolist() == expected


def test_without_consent_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code from the file ran')",))

    joblib.dump(Trap(), tmp_path / "km.bin")
    with pytest.raises(ValueError, match=r"runs code from the file; expected your consent"):
        convert_kmeans(tmp_path / "km.bin", tmp_path / "km.safetensors", allow_pickle=False)
    with pytest.raises(SystemExit, match="ran"):  # the trap does work
        convert_kmeans(tmp_path / "km.bin", tmp_path / "km.safetensors", allow_pickle=True)
    assert [p.name for p in tmp_path.iterdir()] == ["km.bin"]


def test_a_file_of_an_older_scikit_learn_is_read_without_warning(tmp_path, kmeans, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sklearn.base.__version__", "0.22.1")
        joblib.dump(kmeans, tmp_path / "km.bin")
    with pytest.warns(UserWarning, match="Trying to unpickle estimator"):
        joblib.load(tmp_path / "km.bin")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert_kmeans(tmp_path / "km.bin", tmp_path / "km.safetensors", allow_pickle=True)


def test_what_is_no_kmeans_is_named(tmp_path, kmeans):
    joblib.dump([1, 2], tmp_path / "list.bin")
    joblib.dump(MiniBatchKMeans(), tmp_path / "unfitted.bin")
    (tmp_path / "text.bin").write_text("hello")
    joblib.dump(kmeans, tmp_path / "whole.bin")
    (tmp_path / "cut.bin").write_bytes((tmp_path / "whole.bin").read_bytes()[:300])
    for name, message in {
        "list.bin": "got a list without `cluster_centers_`",
        "unfitted.bin": "got a MiniBatchKMeans without `cluster_centers_`",
        "text.bin": "does not unpickle",
        "cut.bin": "does not unpickle",
    }.items():
        with pytest.raises(ValueError, match=message):
            convert_kmeans(tmp_path / name, tmp_path / "km.safetensors", allow_pickle=True)
    with pytest.raises(FileNotFoundError, match=r"absent.bin: got no such file"):
        convert_kmeans(tmp_path / "absent.bin", tmp_path / "km.safetensors", allow_pickle=True)
    with pytest.raises(ValueError, match=r"expected a path that ends in .safetensors"):
        convert_kmeans(tmp_path / "whole.bin", tmp_path / "km.npy", allow_pickle=True)


def test_a_missing_package_names_the_command_that_installs_it(tmp_path, kmeans, monkeypatch):
    joblib.dump(kmeans, tmp_path / "km.bin")
    install = r"pip install 'slm-lens\[synth\]'"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "joblib", None)
        with pytest.raises(ImportError, match=r"got no joblib.*" + install):
            convert_kmeans(tmp_path / "km.bin", tmp_path / "km.safetensors", allow_pickle=True)
    content = (tmp_path / "km.bin").read_bytes()
    (tmp_path / "km.bin").write_bytes(content.replace(b"sklearn.cluster", b"nolearn.cluster"))
    with pytest.raises(ImportError, match=r"needs the module 'nolearn'.*" + install):
        convert_kmeans(tmp_path / "km.bin", tmp_path / "km.safetensors", allow_pickle=True)
