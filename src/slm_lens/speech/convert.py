"""The published k-means codebooks are pickles; this turns one into safetensors, once."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.speech.centroids import save_centroids

_INSTALL = "pip install 'slm-lens[synth]'"


def convert_kmeans(
    joblib_path: str | Path, out_path: str | Path, *, allow_pickle: bool
) -> Float[Tensor, "n_units d_model"]:
    """Write the centroids of a joblib k-means file as safetensors.

    Args:
        joblib_path: a scikit-learn k-means that was saved with joblib, such as
            ``mhubert_base_25hz_cp_mls_cv_sp_fisher_L11_km500.bin``.
        out_path: file to write, ending in ``.safetensors``.
        allow_pickle: must be True: unpickling runs whatever code the file contains, with your
            rights. Say so only for a file whose source you trust.

    Returns:
        The centroids, one row for each unit.

    Raises:
        ValueError: ``allow_pickle`` is False, the file does not unpickle or holds no k-means, or
            ``out_path`` has another ending.
        FileNotFoundError: there is no such file.
        ImportError: joblib, or a package that the pickle names, is not installed.

    Source:
        slamkit ``hubert_feature_extractor.py`` for what the published files hold.
    """  # noqa: DOC502 (raised by _unpickle)
    joblib_path = Path(joblib_path)
    where = f"convert_kmeans: {joblib_path}"
    if not allow_pickle:
        raise ValueError(
            f"{where}: got allow_pickle=False. This file is a pickle, and unpickling runs code "
            "from the file; expected your consent. If you trust its source, pass "
            "allow_pickle=True (on the command line: --allow-pickle)."
        )
    if not joblib_path.is_file():
        raise FileNotFoundError(
            f"{where}: got no such file, expected a k-means saved with joblib. Check the path."
        )
    kmeans = _unpickle(joblib_path, where)
    centers = getattr(kmeans, "cluster_centers_", None)
    if not isinstance(centers, np.ndarray):
        raise ValueError(
            f"{where}: got a {type(kmeans).__name__} without `cluster_centers_`, expected a fitted "
            "scikit-learn k-means. Is it the right file?"
        )
    centroids = torch.from_numpy(centers.astype(np.float32))
    save_centroids(out_path, centroids)
    return centroids


def _unpickle(path: Path, where: str) -> object:
    """What the file holds.

    Raises:
        ImportError: joblib, or a module that the pickle names, is missing.
        ValueError: the file is no pickle.
    """
    try:
        import joblib
    except ImportError:
        raise ImportError(
            f"{where}: got no joblib, expected it to read the file. Install it: `{_INSTALL}`."
        ) from None
    try:
        with warnings.catch_warnings():
            # Only the array of centroids is used, and it means the same in every version.
            warnings.filterwarnings("ignore", message="Trying to unpickle estimator")
            return joblib.load(path)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{where}: the pickle needs the module {error.name!r}, which is not installed; "
            f"expected scikit-learn to be there. Install it: `{_INSTALL}`."
        ) from None
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError) as error:
        raise ValueError(
            f"{where}: got a file that does not unpickle ({error!r}), expected a k-means saved "
            "with joblib. Is the download complete?"
        ) from None
