"""Where a checkpoint is: an embedded model, a folder, or a repository of the Hugging Face hub."""

import difflib
import re
from importlib.resources import files
from pathlib import Path

ORGANISMS = ("organism", "organism-control")
GRID = tuple(
    f"grid-{init}-{data}"
    for init in ("text", "random")
    for data in ("interleaved", "balanced", "speech")
)
"""The organism grid, one seed of each cell (`slm_lens.organism.grid`)."""
EMBEDDED = ORGANISMS + GRID
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
TOKENIZER_FILES = ("*.json", "tokenizer.model", "*.txt")
# Only what a checkpoint needs; safetensors first, pickles if there is nothing else.
SAFETENSORS = ("*.safetensors", *TOKENIZER_FILES, "slm_lens.yaml")
PICKLES = ("pytorch_model*.bin",)


def find_folder(
    name: str | Path,
    *,
    revision: str | None = None,
    weights: bool = True,
    option: str = "source",
) -> Path:
    """Folder of an embedded model, of a hub repository, or the folder that was named.

    A hub repository is downloaded into the local cache, as far as this revision is not there yet;
    where the hub cannot be reached, the cached one is taken.

    Args:
        name: embedded name, hub id (``owner/name``) or folder.
        revision: branch, tag or commit of the hub repository; None for its default.
        weights: whether weights are wanted, or the tokenizer alone.
        option: the argument of `load` that it was given as, for messages.

    Returns:
        The folder.

    Raises:
        LookupError: nothing has this name, or the repository cannot be reached.
        TypeError: it is no name.
        ValueError: a revision was given for something that is not on the hub.
    """
    if not isinstance(name, str | Path) or not str(name):
        raise TypeError(
            f"load: got {option}={name!r}, expected a folder or a hub id (owner/name)"
            + (", a transformers model or an embedded name." if option == "source" else ".")
        )
    path = Path(name).expanduser()
    exists = _exists(path)
    on_hub = isinstance(name, str) and HUB_ID.fullmatch(name) and not exists
    if revision is not None and not on_hub:
        raise ValueError(
            f"load: got revision={revision!r} for {str(name)!r}, expected a hub id (owner/name) "
            "with it. Leave it out for a folder."
        )
    if name in EMBEDDED:
        return embedded_folder(str(name))
    if exists and path.is_dir():
        return path
    if on_hub:
        return _from_hub(str(name), revision, weights=weights)
    if exists and path.is_file():
        raise LookupError(
            f"load: {option}={str(name)!r} is a file, expected its folder: {path.parent}."
        )
    if option != "source":
        raise LookupError(
            f"load: no folder at {option}={str(name)!r}, expected a folder or a hub id "
            "(owner/name)."
        )
    near = difflib.get_close_matches(str(name), EMBEDDED, n=1)
    raise LookupError(
        f"load: no folder at {str(name)!r}, expected a folder, a hub id (owner/name) or one of the "
        f"embedded models {list(EMBEDDED)}." + (f" Did you mean {near[0]!r}?" if near else "")
    )


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; no name that the system refuses exists."""
    try:
        return path.exists()
    except OSError:
        return False


def embedded_folder(name: str) -> Path:
    """Folder of a model that ships with the package.

    Args:
        name: one of `EMBEDDED`.

    Returns:
        The folder.

    Raises:
        LookupError: this installation does not have it.
    """
    folder = Path(str(files("slm_lens").joinpath("data", name)))
    if name not in EMBEDDED or not folder.is_dir():
        raise LookupError(
            f"load: the embedded model {name!r} is not in this installation, expected {folder}. "
            "Reinstall slm-lens, or train it: slm-lens organism train (or grid)."
        )
    return folder


def _from_hub(repository: str, revision: str | None, *, weights: bool) -> Path:
    from huggingface_hub import snapshot_download

    wanted = SAFETENSORS if weights else TOKENIZER_FILES
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=[*wanted]))
        if weights and not any(folder.glob("*model*.safetensors")):
            patterns = [*wanted, *PICKLES]
            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except Exception as error:  # of the connection, the hub and the cache; they share no root
        said = (str(error) or type(error).__name__).splitlines()[0]
        wanted_revision = "" if revision is None else f" in revision {revision!r}"
        raise LookupError(
            f"load: no folder at {repository!r}, and the hub did not give a repository of this "
            f"name{wanted_revision} ({said}); expected a folder, or a repository that is in the "
            "cache or can be downloaded. Check the name and HF_HUB_OFFLINE; for a gated one, "
            "accept its terms and log in: hf auth login."
        ) from error
    return folder
