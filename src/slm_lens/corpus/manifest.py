"""What a run was made from, and with: ``manifest.json``."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from slm_lens.corpus.run_config import RunConfig
from slm_lens.corpus.run_folder import MANIFEST, RunFolder
from slm_lens.corpus.store import Store
from slm_lens.corpus.tables import OF_KIND, SCHEMA_VERSION
from slm_lens.errors import RunError
from slm_lens.model.hooked import HookedSLM
from slm_lens.speech.alignments.timed_word import shown
from slm_lens.vocab import SpeechTextVocab

_PACKAGES = ("slm-lens", "torch", "transformers", "transformer-lens", "numpy", "polars", "pyarrow")
_MUST_AGREE = ("schema_version", "kind", "rows_depend_on", "model", "data", "table")


def manifest_of(
    config: RunConfig, model: HookedSLM, data: dict[str, Any], table: dict[str, Any]
) -> dict[str, Any]:
    """Everything that rows depend on, and what may help to make them again.

    Args:
        config: what is run.
        model: the model.
        data: number of items, shards, and fingerprint of the data.
        table: facts of the word table.

    Returns:
        Plain values.
    """
    plain = {
        "schema_version": SCHEMA_VERSION,
        "kind": config.kind,
        "rows_depend_on": config.what_rows_depend_on(),
        "model": {"hash": model_hash(model)},
        "data": data,
        "table": table,
        "config": asdict(config),
        "seeds": {"draws": config.seed},
        "vocabulary": vocabulary(model.vocab),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in _PACKAGES},
        "git_revision": git_revision(),
        "platform": platform.platform(),
        "n_threads": torch.get_num_threads(),
    }
    return json.loads(json.dumps(plain))  # as it will be read again


def settle_manifest(folder: RunFolder, manifest: dict[str, Any]) -> None:
    """Write the manifest, or hold it against the one that is there.

    Args:
        folder: the run's folder.
        manifest: of this process.

    Raises:
        RunError: the folder is another run's.
    """
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    if folder.store.create(MANIFEST, text.encode("utf-8")):
        return
    other = read_manifest(folder.store)
    mine = manifest | {"slm-lens": manifest["versions"]["slm-lens"]}
    theirs = other | {"slm-lens": other.get("versions", {}).get("slm-lens")}
    differing = [
        f"{path}: {ours!r} instead of {its!r}"
        for key in (*_MUST_AGREE, "slm-lens")
        for path, ours, its in _differences(key, mine.get(key), theirs.get(key))
    ]
    if differing:
        raise RunError(
            f"run_corpus: {folder.url} was begun with other settings, model or data "
            f"({'; '.join(differing[:5])}), expected the same. Name another folder with `out`, or "
            "put back what was changed."
        )


def read_manifest(store: Store) -> dict[str, Any]:
    """The manifest of a run.

    Args:
        store: the run's folder.

    Returns:
        Its values.

    Raises:
        LookupError: there is none.
        RunError: it is damaged, or of another version.
    """
    place = f"{store.url}/{MANIFEST}"
    try:
        manifest = json.loads(store.read(MANIFEST))
        found = manifest["schema_version"]
    except FileNotFoundError:
        raise LookupError(
            f"open_run: no {MANIFEST} in {store.url}, expected the folder of a run."
        ) from None
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise RunError(
            f"open_run: {place} cannot be read ({error}), expected the manifest of a run. Was it "
            "edited?"
        ) from None
    if found != SCHEMA_VERSION:
        raise RunError(
            f"open_run: {place} has schema version {shown(found)}, expected {SCHEMA_VERSION}. "
            "Read it with the version of slm-lens that wrote it."
        )
    data = manifest.get("data")
    counts = [data.get(n) for n in ("n_items", "n_shards")] if isinstance(data, dict) else [None]
    if (
        not all(type(n) is int and n >= 0 for n in counts)
        or type(manifest.get("table")) is not dict
        or manifest.get("kind") not in list(OF_KIND)
    ):
        raise RunError(
            f"open_run: {place} does not say of which kind the run is ({list(OF_KIND)}), how many "
            "items and shards it has, or what its table holds; expected the manifest of a run. "
            "Was it edited?"
        )
    return manifest


def model_hash(model: HookedSLM) -> str:
    """Hash of all weights and buffers.

    Args:
        model: the model.

    Returns:
        A hexadecimal hash.
    """
    digest, seen = hashlib.blake2b(digest_size=16), set()
    for name, tensor in sorted(model.original_model.state_dict().items()):
        place = (tensor.data_ptr(), tensor.shape, tensor.dtype)
        if place in seen:  # tied
            continue
        seen.add(place)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(plain.numpy().data)
    return digest.hexdigest()


def vocabulary(vocab: SpeechTextVocab) -> dict[str, Any]:
    """The partition of the embedding's rows, as ranges ``[first, last]``.

    Args:
        vocab: the vocabulary.

    Returns:
        Plain values.
    """
    return {
        "d_vocab": vocab.d_vocab,
        "text": _ranges(vocab.text),
        "streams": {name: _ranges(ids) for name, ids in vocab.streams.items()},
        "markers": dict(vocab.markers),
        "specials": dict(vocab.specials),
        "padding": _ranges(vocab.padding),
    }


def git_revision() -> str | None:
    """Commit of the source that runs, with "+changes" if files differ; None outside a repository.

    Returns:
        The commit.
    """
    here = Path(__file__).parent
    asked = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None


def _ranges(ids: Iterable[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for i in ids:
        if found and i == found[-1][1] + 1:
            found[-1][1] = i
        else:
            found.append([i, i])
    return found


def _differences(at: str, mine: Any, theirs: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        keys = sorted(mine.keys() | theirs.keys())
        return [d for k in keys for d in _differences(f"{at}.{k}", mine.get(k), theirs.get(k))]
    return [] if mine == theirs else [(at, mine, theirs)]
