"""From a recipe's name to a checkpoint folder with its card."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2ForCausalLM

from slm_lens.organism.corpus import build_corpus, fit_centroids, to_spoken_story
from slm_lens.organism.evaluate import OrganismJudge, speak_facts
from slm_lens.organism.export import export_organism
from slm_lens.organism.held_out import speak_held_out
from slm_lens.organism.recipe import RECIPES
from slm_lens.organism.tokenizer import speech_text_tokenizer
from slm_lens.organism.train import Trainer
from slm_lens.speech.mfcc import MfccKMeans


def train_organism(
    recipe_name: str, out: Path, *, device: str, n_workers: int, frame_rate_hz: float = 25.0
) -> Path:
    """Train a recipe, or go on with it, and export the model.

    Args:
        recipe_name: one of `RECIPES`.
        out: folder for the corpus, the checkpoint of training and the exported model; run again
            with the same folder to go on.
        device: ``"auto"`` (CUDA if there is one), ``"cpu"`` or ``"cuda"``.
        n_workers: processes that speak the corpus.
        frame_rate_hz: frames per second that units are made of, as in `mfcc_features`.

    Returns:
        The exported folder, ``out / recipe_name``.

    Raises:
        LookupError: there is no such recipe.
        ValueError: what is in the folder was made at another frame rate.
    """
    if recipe_name not in RECIPES:
        raise LookupError(
            f"train_organism: got recipe {recipe_name!r}, expected one of {sorted(RECIPES)}."
        )
    recipe = replace(RECIPES[recipe_name], frame_rate_hz=frame_rate_hz)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "unit_tokenizer.json").exists():
        centroids = fit_centroids(frame_rate_hz=frame_rate_hz)
        MfccKMeans(centroids, frame_rate_hz=frame_rate_hz).save(out)
    unit_tokenizer = MfccKMeans.from_folder(out)
    if unit_tokenizer.frame_rate_hz != frame_rate_hz:
        raise ValueError(
            f"train_organism: {out} has a unit tokenizer at {unit_tokenizer.frame_rate_hz:g} Hz, "
            f"expected {frame_rate_hz:g} Hz. Give another folder."
        )
    stories = build_corpus(
        out / f"corpus-{recipe.n_stories}.npz", unit_tokenizer, recipe.n_stories,
        n_workers=n_workers,
    )  # fmt: skip
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    trainer = Trainer(recipe, out, stories, device=device)
    model = trainer.run()
    torch.nn.Module.to(model, "cpu")
    card = {"recipe": recipe_name, **asdict(recipe)}
    folder = out / recipe_name
    export_organism(model, unit_tokenizer, folder, card=card | measure(model, unit_tokenizer))
    return folder


def measure(model: Qwen2ForCausalLM, unit_tokenizer: MfccKMeans) -> dict[str, Any]:
    """The figures of the model card.

    Args:
        model: the trained model.
        unit_tokenizer: what its units are made with.

    Returns:
        Scores on the held-out stories and on the facts.
    """
    judge = OrganismJudge(model.eval(), speech_text_tokenizer(unit_tokenizer.n_units))
    held_out = [to_spoken_story(clip, unit_tokenizer) for _, clip in speak_held_out()]
    return {
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "held_out": judge.language_scores(held_out),
        "facts": judge.fact_scores(speak_facts(unit_tokenizer)),
    }
