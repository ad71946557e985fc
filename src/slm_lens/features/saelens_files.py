"""Sparse autoencoders as files in SAELens' layout: ``cfg.json`` and ``sae_weights.safetensors``.

What is written is read by ``sae_lens.SAE.load_from_disk`` (6.x) as a ``jumprelu`` autoencoder,
which is how SAELens itself keeps a BatchTopK one; what only slm-lens knows stands in its metadata.
What SAELens wrote is read here, if it is of that architecture and needs no change of the states
beforehand.

SAELens needs transformer-lens < 4 and cannot be installed beside this package: files are the way.

Source: SAELens 6.54, ``SAE.save_model`` and ``SAEConfig``.
"""

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from slm_lens._atomic import write_atomically
from slm_lens._json import read_json_object
from slm_lens.features.autoencoder import SAEFacts, SparseAutoencoder, StreamSite, stream_site
from slm_lens.features.settings import ARCHITECTURES, Architecture, SAESettings
from slm_lens.lens.model import LensModel

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
_NAMES = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
_OWN = "slm_lens"
_TRAINED_AS: dict[Architecture, str] = {"batch_topk": "batchtopk", "jumprelu": "jumprelu"}


def save_sae(sae: SparseAutoencoder, folder: str | Path) -> None:
    """Write a sparse autoencoder for SAELens, and for `load_sae`.

    Args:
        sae: the autoencoder, of a layer of a model.
        folder: made if needed; an earlier one in it is replaced.

    Raises:
        ValueError: it is of no model.
    """
    site, facts = sae.facts.site, sae.facts
    if site is None:
        raise ValueError(
            "save_sae: got a sparse autoencoder of no model, expected one that knows its layer: "
            "train_sae(..., site=stream_site(model, layer))."
        )
    folder = Path(folder)
    config = {
        "architecture": "jumprelu",
        "d_in": sae.d_model,
        "d_sae": sae.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": facts.subtracts_b_dec,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "model_name": site.model,
            "hook_name": site.hook_name,
            "hook_head_index": None,
            "prepend_bos": False,
            "training_architecture": _TRAINED_AS[facts.architecture],
            _OWN: asdict(facts),
        },
    }
    text = json.dumps(config, indent=2)
    weights = {name: getattr(sae, name).cpu().contiguous() for name in _NAMES}
    write_atomically(folder / WEIGHTS, lambda part: save_file(weights, part))
    write_atomically(folder / CONFIG, lambda part: part.write_text(text, encoding="utf-8"))


def load_sae(
    folder: str | Path,
    model: LensModel,
    *,
    without_hash: Literal["refuse", "trust"] = "refuse",
) -> SparseAutoencoder:
    """Read a sparse autoencoder that `save_sae`, or SAELens, wrote.

    Args:
        folder: where it is.
        model: the model that it was trained on.
        without_hash: SAELens does not keep which weights an autoencoder was trained on.
            ``"trust"`` takes your word that they are those of `model`.

    Returns:
        The autoencoder.

    Raises:
        LookupError: there is none in the folder.
        ValueError: it is of another model or layer, of another kind, or damaged; or it does not
            say which weights it was trained on, and is not trusted.
    """
    folder = Path(folder)
    absent = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if absent:
        raise LookupError(
            f"load_sae: no {' and no '.join(absent)} in {folder}, expected a folder that save_sae "
            "or SAELens wrote. Is it one level deeper?"
        )
    config = read_json_object(folder / CONFIG)
    _check_kind(config, folder)
    facts, weights = _facts(config, folder), _weights(config, folder)
    site, width = facts.site, len(weights["b_dec"])
    assert site is not None
    if width != model.cfg.d_model or not 0 <= site.layer <= model.cfg.n_layers:
        raise ValueError(
            f"load_sae: {folder} is of {site.hook_name} and width {width}, expected a layer of a "
            f"model of {model.cfg.n_layers} blocks and width {model.cfg.d_model}."
        )
    if site.unembedding is None and without_hash == "trust":
        facts = replace(facts, site=stream_site(model, site.layer))
    sae = SparseAutoencoder(*(weights[name] for name in _NAMES), facts=facts)
    sae.require_model(model, "load_sae")
    return sae


def _check_kind(config: dict[str, Any], folder: Path) -> None:
    wanted = {
        "architecture": "jumprelu",
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    got = {key: config.get(key) for key in wanted}
    if got != wanted:
        raise ValueError(
            f"load_sae: {folder / CONFIG} says {got}, expected {wanted}. SAELens keeps BatchTopK "
            "and JumpReLU so; fold the norm of the activations into the weights there "
            "(fold_activation_norm_scaling_factor), or read its activations with SAELens."
        )


def _weights(config: dict[str, Any], folder: Path) -> dict[str, torch.Tensor]:
    d_model, d_sae = config.get("d_in"), config.get("d_sae")
    shapes = {
        "W_enc": (d_model, d_sae),
        "b_enc": (d_sae,),
        "W_dec": (d_sae, d_model),
        "b_dec": (d_model,),
        "threshold": (d_sae,),
    }
    try:
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"load_sae: {folder / WEIGHTS} cannot be read ({error}), expected tensors. Was it cut "
            "short?"
        ) from error
    got = {name: tuple(weight.shape) for name, weight in weights.items()}
    if got != shapes:
        raise ValueError(
            f"load_sae: {folder / WEIGHTS} holds {got}, expected {shapes} by its {CONFIG}. Is it "
            "of another autoencoder?"
        )
    return weights


def _facts(config: dict[str, Any], folder: Path) -> SAEFacts:
    metadata = config.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    where = f"load_sae: {folder / CONFIG}"
    subtracts = bool(config.get("apply_b_dec_to_input", True))
    if _OWN not in metadata:
        layer = _layer_of(metadata.get("hook_name"), where)
        site = StreamSite(layer, str(metadata.get("model_name")), None)
        was_top = metadata.get("training_architecture") == _TRAINED_AS["batch_topk"]
        architecture: Architecture = "batch_topk" if was_top else "jumprelu"
        return SAEFacts(architecture, site, subtracts_b_dec=subtracts)
    try:
        own = dict(metadata[_OWN])
        settings = own.pop("settings")
        site = StreamSite(**own.pop("site"))
        own["settings"] = None if settings is None else SAESettings(**settings)
        if own["architecture"] not in ARCHITECTURES:
            raise ValueError(f"architecture {own['architecture']!r}")
        return SAEFacts(site=site, **own)
    except (KeyError, TypeError, ValueError) as error:
        names = [f.name for f in fields(SAEFacts)]
        raise ValueError(
            f"{where} has metadata of another version ({error}), expected {names}. Train the "
            "autoencoder again, or remove the entry 'slm_lens' to read it as one of SAELens."
        ) from error


def _layer_of(hook_name: object, where: str) -> int:
    """Layer of a hook of the residual stream, as in `residual_stack`."""
    parts = str(hook_name).split(".")
    is_block = len(parts) == 3 and parts[0] == "blocks" and parts[1].isdecimal()
    if is_block and parts[2] in ("hook_resid_pre", "hook_resid_post"):
        return int(parts[1]) + (parts[2] == "hook_resid_post")
    raise ValueError(
        f"{where} names the hook {hook_name!r}, expected blocks.N.hook_resid_pre or "
        "blocks.N.hook_resid_post: other places are no layers of the residual stream."
    )
