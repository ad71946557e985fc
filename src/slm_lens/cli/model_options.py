"""The options that say how to load a model, once for every command that loads one.

A command has a parameter of a class below; `with_options` puts the options of that class in its
place on the command line. So it does with other classes of options.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import torch

    from slm_lens.model.hooked import HookedSLM

ModelName = Annotated[str, typer.Argument(help="Embedded model, folder or hub id (owner/name).")]


class Dtype(StrEnum):
    """Dtypes to load weights in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    stored = "stored"


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions:
    """What has to be said of a checkpoint that does not say it itself."""

    text_tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder or hub id of the text tokenizer, for a checkpoint without one (SIMS)."
        ),
    ] = None
    vocab_spec: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="YAML description of the vocabulary, for a checkpoint of no family.",
        ),
    ] = None
    family: Annotated[
        str | None, typer.Option(help="Name of the family, if it is not to be recognised.")
    ] = None
    adapter: Annotated[
        str | None, typer.Option(help="Folder or hub id of a PEFT adapter (LoRA) to merge.")
    ] = None
    dtype: Annotated[
        Dtype, typer.Option(help="Dtype of the weights; 'stored' keeps the one on disk.")
    ] = Dtype.float32

    def torch_dtype(self) -> "torch.dtype | None":
        """The dtype as `load` takes it."""
        import torch

        return None if self.dtype is Dtype.stored else getattr(torch, self.dtype.value)


@dataclass(frozen=True, kw_only=True)
class ModelOptions(CheckpointOptions):
    """The same, and what a model with hooks needs besides."""

    unit_tokenizer: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of the unit tokenizer, if the model's folder has none.",
        ),
    ] = None
    device: Annotated[
        str | None, typer.Option(help="Where to put the model: cpu, cuda, cuda:1; cpu if left out.")
    ] = None

    def load(self, model: str) -> "HookedSLM":
        """The model of this name with these options."""
        from slm_lens.model.load import load
        from slm_lens.speech.unit_tokenizers import load_unit_tokenizer

        folder = self.unit_tokenizer
        return load(
            model,
            text_tokenizer=self.text_tokenizer,
            vocab_spec=self.vocab_spec,
            family=self.family,
            adapter=self.adapter,
            dtype=self.torch_dtype(),
            unit_tokenizer=None if folder is None else load_unit_tokenizer(folder),
            device=self.device,
        )


def with_options(command: Callable[..., None], *, dtype: Dtype) -> Callable[..., None]:
    """A command with the options of its parameters of such classes, each on its own.

    Args:
        command: the command; typer sees its other parameters as they are.
        dtype: the command's default for ``--dtype``.

    Returns:
        What to register with typer.
    """
    signature = inspect.signature(command)
    places = {n: p for n, p in signature.parameters.items() if is_dataclass(p.annotation)}
    options = {
        name: [
            inspect.Parameter(
                f.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=dtype if f.name == "dtype" else f.default,
                annotation=f.type,
            )
            for f in fields(place.annotation)
        ]
        for name, place in places.items()
    }

    @wraps(command)
    def called(**given: Any) -> None:
        chosen = {
            name: place.annotation(**{o.name: given.pop(o.name) for o in options[name]})
            for name, place in places.items()
        }
        command(**given, **chosen)

    others = [p for p in signature.parameters.values() if p.name not in places]
    shown = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in others]
    shown += [option for of_class in options.values() for option in of_class]
    called.__signature__ = signature.replace(parameters=shown)  # pyright: ignore[reportAttributeAccessIssue]
    called.__annotations__ = {p.name: p.annotation for p in shown} | {"return": None}
    return called
