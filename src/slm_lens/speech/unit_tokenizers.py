"""A unit tokenizer from its folder, whichever kind it is.

``unit_tokenizer.json`` names the kind; what it needs lies beside it, such as
``centroids.safetensors``.
"""

import json
from pathlib import Path

from slm_lens.speech.centroids import CENTROIDS_FILE
from slm_lens.speech.units import UnitTokenizer

UNIT_TOKENIZER_FILE = "unit_tokenizer.json"
UNIT_TOKENIZER_KINDS = ("hubert_kmeans", "mfcc_kmeans", "mimi")


def load_unit_tokenizer(folder: str | Path) -> UnitTokenizer:
    """Load the unit tokenizer that a folder holds.

    Args:
        folder: has ``unit_tokenizer.json`` and, of a k-means, ``centroids.safetensors``. The kind
            ``"hubert_kmeans"`` has the keys ``hubert`` (folder of the encoder, from here or
            absolute), ``layer`` and ``dedup``; ``"mimi"`` has ``mimi`` (folder of the codec) and
            ``n_codebooks``; ``"mfcc_kmeans"`` is read by `MfccKMeans`.

    Returns:
        The tokenizer, on the CPU.

    Raises:
        FileNotFoundError: there is no ``unit_tokenizer.json``.
        LookupError: the kind is unknown.
        ValueError: the file is not JSON, or a key is missing or of the wrong type.

    Source:
        Ours.
    """  # noqa: DOC502 (raised by _read_object and _require)
    folder = Path(folder)
    file = folder / UNIT_TOKENIZER_FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"load_unit_tokenizer: got {folder} without {UNIT_TOKENIZER_FILE}, expected the folder "
            "of a unit tokenizer. Write one with `HubertKMeans.save`."
        )
    about = _read_object(file)
    kind = about.get("kind")
    if kind == "mfcc_kmeans":
        from slm_lens.speech.mfcc import MfccKMeans

        return MfccKMeans.from_folder(folder)
    if kind == "hubert_kmeans":
        from slm_lens.speech.hubert import HubertKMeans

        _require(file, about, {"hubert": str, "layer": int, "dedup": bool})
        return HubertKMeans.from_folder(
            folder / about["hubert"],
            folder / CENTROIDS_FILE,
            layer=about["layer"],
            dedup=about["dedup"],
        )
    if kind == "mimi":
        from slm_lens.speech.mimi import MimiCodes

        _require(file, about, {"mimi": str, "n_codebooks": int})
        return MimiCodes.from_folder(folder / about["mimi"], n_codebooks=about["n_codebooks"])
    raise LookupError(
        f"load_unit_tokenizer: got kind {kind!r} in {file}, expected one of "
        f"{', '.join(UNIT_TOKENIZER_KINDS)}. Correct the file."
    )


def _read_object(file: Path) -> dict:
    """The JSON object in a file.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise ValueError(
            f"load_unit_tokenizer: got {file}, which is not JSON ({error}); expected an object "
            "with the key 'kind'. Write the file again."
        ) from None
    if not isinstance(about, dict):
        raise ValueError(
            f"load_unit_tokenizer: got a {type(about).__name__} in {file}, expected an object with "
            "the key 'kind'. Write the file again."
        )
    return about


def _require(file: Path, about: dict, types: dict[str, type]) -> None:
    """Refuse a key that is missing or has another type; True is no number here.

    Raises:
        ValueError: naming the key.
    """
    for key, expected in types.items():
        if type(about.get(key)) is not expected:
            raise ValueError(
                f"load_unit_tokenizer: got {key}={about.get(key)!r} in {file}, expected a value of "
                f"type {expected.__name__}. Correct the file."
            )
