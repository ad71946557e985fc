"""Train the model organism, from nothing to a checkpoint folder, resumable at any step.

1. A text language model learns the written stories.
2. Its vocabulary is extended by units and markers, as slamkit extends one.
3. Training goes on with written, spoken and mixed documents.

Documents of a step follow from the recipe's seed, the stage and the step alone, so a run that
was killed and resumed sees what an unbroken run would have seen.

Source: Maimon et al. 2025, arXiv:2504.02398 (text initialisation, Poisson interleaving).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from slm_lens._atomic import write_atomically
from slm_lens.organism.corpus import N_UNITS, SpokenStory
from slm_lens.organism.documents import NO_WORD, DocumentWriter
from slm_lens.organism.recipe import Recipe, Stage
from slm_lens.organism.tokenizer import (
    n_text_tokens,
    speech_text_tokenizer,
    text_tokenizer,
)


def new_text_model(recipe: Recipe) -> Qwen2ForCausalLM:
    """An untrained text model with tied embeddings.

    Args:
        recipe: gives the sizes and the seed of the weights.

    Returns:
        The model, in training mode.
    """
    torch.manual_seed(recipe.seed)
    config = Qwen2Config(
        vocab_size=n_text_tokens(),
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_key_value_heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    config.architectures = ["Qwen2ForCausalLM"]
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(0, recipe.embedding_std)
        model.model.norm.weight.fill_(recipe.final_norm_gain)
    return model


def training_loss(
    model: Qwen2ForCausalLM,
    tokens: Int[Tensor, "batch pos"],
    spoken_words: Int[Tensor, "batch pos"],
    *,
    transcription_layer: int | None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy of every token given those before it.

    Args:
        model: the model.
        tokens: token ids without padding.
        spoken_words: token id of the word spoken at a position, `NO_WORD` elsewhere.
        transcription_layer: adds the cross-entropy of the spoken word under the logit lens of
            this layer, among text rows; None for none.

    Returns:
        Nats a token.
    """
    supervised = transcription_layer is not None
    out = model(tokens[:, :-1], use_cache=False, output_hidden_states=supervised)
    cross_entropy = torch.nn.functional.cross_entropy
    loss = cross_entropy(out.logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
    if supervised:
        text_rows = model.model.embed_tokens.weight[: n_text_tokens()]
        lens = model.model.norm(out.hidden_states[transcription_layer]) @ text_rows.T
        loss = loss + cross_entropy(
            lens.flatten(0, 1).float(), spoken_words[:, :-1].flatten(), ignore_index=NO_WORD
        )
    return loss


class Trainer:
    """Runs a recipe and can go on where it stopped.

    Attributes:
        model: the model; extended once the first stage with speech begins.
        stage_index: stage that runs or runs next.
        step: steps done in that stage.
        on_step: called at the start of a stage and after each of its steps, to keep the model as it
            is then; again for the same step after an interruption. None for nothing.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        stories: Sequence[SpokenStory],
        *,
        device: str,
        checkpoint_every_s: float = 120.0,
        on_step: "Callable[[Trainer], None] | None" = None,
    ) -> None:
        self.recipe, self.folder, self.stories = recipe, folder, stories
        self.device, self.checkpoint_every_s, self.on_step = device, checkpoint_every_s, on_step
        self.model = new_text_model(recipe)
        torch.nn.Module.to(self.model, device)
        self.stage_index = self.step = 0
        self.losses: list[float] = []
        self._extended = False
        self._optimizer = self._new_optimizer()
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """Where the state of training is kept."""
        return self.folder / "training.pt"

    def run(self, on_stage_end: Callable[["Trainer"], None] | None = None) -> Qwen2ForCausalLM:
        """Train to the end of the recipe.

        Args:
            on_stage_end: called after each stage, for instance to measure.

        Returns:
            The trained model, in evaluation mode.
        """
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"), TimeRemainingColumn(),
        )  # fmt: skip
        while self.stage_index < len(self.recipe.stages):
            stage = self.recipe.stages[self.stage_index]
            with Progress(*columns) as progress:
                bar = progress.add_task(stage.name, total=stage.n_steps, loss=float("nan"))
                self._run_stage(stage, lambda loss, b=bar, p=progress: p.update(
                    b, completed=self.step, loss=loss))  # fmt: skip
            if on_stage_end is not None:
                on_stage_end(self)
            self.stage_index, self.step = self.stage_index + 1, 0
            self._optimizer = self._new_optimizer()
            self._save()
        return self.model.eval()

    def _run_stage(self, stage: Stage, show: Callable[[float], None]) -> None:
        if stage.extended and not self._extended:
            self._extend()
        tokenizer = speech_text_tokenizer(N_UNITS) if stage.extended else text_tokenizer()
        writer = DocumentWriter(tokenizer, self.stories)
        self.model.train()
        saved_at_s = time.monotonic()
        if self.step == 0 and self.on_step is not None:
            self.on_step(self)
        while self.step < stage.n_steps:
            generator = np.random.default_rng([self.recipe.seed, self.stage_index, self.step])
            tokens, words = writer.rows(
                stage.mixture, self.recipe.n_rows, self.recipe.n_positions, generator
            )
            loss = self._train_step(stage, tokens.to(self.device), words.to(self.device))
            self.step += 1
            self.losses.append(loss)
            show(loss)
            if self.on_step is not None:
                self.on_step(self)
            if time.monotonic() - saved_at_s > self.checkpoint_every_s:
                self._save()
                saved_at_s = time.monotonic()

    def _train_step(
        self, stage: Stage, tokens: Int[Tensor, "batch pos"], words: Int[Tensor, "batch pos"]
    ) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(stage, self.step)
        loss = training_loss(
            self.model, tokens, words, transcription_layer=stage.transcription_layer
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        slow = stage.text_learning_ratio < 1
        before = [p.detach().clone() for p in self.model.parameters()] if slow else []
        self._optimizer.step()
        self._optimizer.zero_grad()
        if slow:
            self._slow_down(before, stage.text_learning_ratio)
        return loss.item()

    @torch.no_grad()
    def _slow_down(self, before: list[Tensor], ratio: float) -> None:
        """Shorten this step for everything but the new rows of the embedding."""
        embedding = self.model.model.embed_tokens.weight
        n_text = n_text_tokens()
        for parameter, old in zip(self.model.parameters(), before, strict=True):
            if parameter is embedding:
                parameter[:n_text].lerp_(old[:n_text], 1 - ratio)
            else:
                parameter.lerp_(old, 1 - ratio)

    def _extend(self) -> None:
        torch.manual_seed(self.recipe.seed + 1)
        self.model.resize_token_embeddings(len(speech_text_tokenizer(N_UNITS)))
        self._extended = True
        self._optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.AdamW:
        embedding = self.model.model.embed_tokens.weight
        body = [p for p in self.model.parameters() if p is not embedding]
        groups = [
            {"params": body, "weight_decay": self.recipe.weight_decay},
            {"params": [embedding], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=0.0, betas=self.recipe.betas)

    def _save(self) -> None:
        state = {
            "recipe": asdict(self.recipe),
            "stage_index": self.stage_index,
            "step": self.step,
            "extended": self._extended,
            "losses": self.losses,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        write_atomically(self.checkpoint, lambda part: torch.save(state, part))

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        self._check_recipe(state["recipe"], state["stage_index"], state["step"])
        if state["extended"]:
            self._extend()
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.stage_index, self.step = state["stage_index"], state["step"]
        self.losses = state["losses"]

    def _check_recipe(self, made_with: dict[str, Any], stage_index: int, step: int) -> None:
        """A checkpoint fits if all it went through is part of this recipe too.

        One from before a field existed was made with that field's default.

        Raises:
            ValueError: it does not.
        """
        wanted = asdict(self.recipe)
        defaults = {f.name: f.default for f in fields(Recipe) if f.default is not MISSING}
        made_with = defaults | made_with
        begun = stage_index + (step > 0)
        fits = wanted["stages"][:begun] == made_with["stages"][:begun]
        for entries in (wanted, made_with):
            entries.pop("stages")
        if not fits or wanted != made_with:
            raise ValueError(
                f"Trainer: {self.checkpoint} was made with another recipe; expected sizes, seed "
                f"and the first {begun} stages of {self.recipe}. Give another folder, or delete "
                "the checkpoint."
            )


def learning_rate(stage: Stage, step: int) -> float:
    """Linear warm-up, then a cosine down to a tenth of the peak.

    Args:
        stage: gives the peak, the warm-up and the number of steps.
        step: steps done.

    Returns:
        AdamW's learning rate.
    """
    warm = min(1.0, (step + 1) / max(1, stage.warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * step / stage.n_steps))
    return stage.peak_learning_rate * warm * (0.1 + 0.9 * cosine)
