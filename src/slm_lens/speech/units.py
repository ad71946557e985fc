"""Discrete speech units and their timing.

``waveform -> frames -> units -> deduplicated units``: deduplication removes repeats but keeps how
long each run lasted, so any unit can be placed in seconds again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def deduplicate(
    units: Int[Tensor, " n_frames"],
) -> tuple[Int[Tensor, " n_units"], Int[Tensor, " n_units"]]:
    """Collapse each run of equal units into one, keeping how long it lasted.

    Args:
        units: unit id of every frame, in time order.

    Returns:
        Unit id and duration in frames of each run. Their ``repeat_interleave`` is the input, so
        no timing is lost.

    Raises:
        ValueError: ``units`` is empty.

    Source:
        Lakhotia et al. 2021, arXiv:2102.01192 (repeats removed before the unit LM).
    """
    if units.numel() == 0:
        raise ValueError(
            "deduplicate: got 0 frames, expected at least 1. "
            "Is the clip shorter than one hop (640 samples at 16 kHz and 25 Hz)?"
        )
    runs, durations_frames = torch.unique_consecutive(units, return_counts=True)
    return runs, durations_frames


@dataclass(frozen=True, eq=False)
class Units:
    """Speech units of one clip, in time order.

    Attributes:
        ids: unit ids, counted from 0.
        durations_frames: how many encoder frames each unit lasts; all 1 unless deduplicated.
        frame_rate_hz: encoder frames per second.

    Raises:
        TypeError: ids or durations are no tensor of whole numbers.
        ValueError: no unit, a negative id, a duration under one frame, or a frame rate that is
            not positive and finite.
    """

    ids: Int[Tensor, " n_units"]
    durations_frames: Int[Tensor, " n_units"]
    frame_rate_hz: float

    def __post_init__(self) -> None:
        for name in ("ids", "durations_frames"):
            given = getattr(self, name)
            if not isinstance(given, Tensor) or given.dtype not in WHOLE:
                kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
                raise TypeError(
                    f"Units: got {name} of {kind}, expected a tensor of whole numbers. Write "
                    "torch.tensor([3, 49]), or units.long() if they are whole."
                )
        if self.ids.numel() == 0 or self.ids.min() < 0:
            raise ValueError(
                f"Units: got ids {self.ids.tolist()[:8]}, expected at least one id, all >= 0."
            )
        if self.durations_frames.min() < 1:
            raise ValueError(
                "Units: got a duration under 1 frame, expected every unit to last at least one. "
                "Durations are in frames, not in seconds."
            )
        if not 0 < self.frame_rate_hz < math.inf:
            raise ValueError(
                f"Units: got frame_rate_hz={self.frame_rate_hz}, expected a positive number."
            )

    @classmethod
    def from_frames(
        cls, frames: Int[Tensor, " n_frames"], *, frame_rate_hz: float, dedup: bool
    ) -> "Units":
        """Units from the unit id of every encoder frame.

        Args:
            frames: unit id of every frame.
            frame_rate_hz: encoder frames per second.
            dedup: collapse runs of one unit, keeping durations.

        Returns:
            The units with their durations.
        """
        if dedup:
            ids, durations_frames = deduplicate(frames)
        else:
            ids, durations_frames = frames, torch.ones_like(frames)
        return cls(ids=ids, durations_frames=durations_frames, frame_rate_hz=frame_rate_hz)

    def to_frames(self) -> Int[Tensor, " n_frames"]:
        """Unit id of every encoder frame; undoes deduplication.

        Returns:
            One unit id per frame.
        """
        return self.ids.repeat_interleave(self.durations_frames)

    @property
    def ends_s(self) -> Float[Tensor, " n_units"]:
        """End of each unit in seconds from the start of the clip, float64."""
        return self.durations_frames.cumsum(0).double() / self.frame_rate_hz

    @property
    def starts_s(self) -> Float[Tensor, " n_units"]:
        """Start of each unit in seconds from the start of the clip, float64."""
        return (self.durations_frames.cumsum(0) - self.durations_frames).double() / (
            self.frame_rate_hz
        )

    @property
    def duration_s(self) -> float:
        """Length of the clip in seconds, as whole frames."""
        return int(self.durations_frames.sum()) / self.frame_rate_hz

    def __len__(self) -> int:
        return self.ids.numel()


SpeechUnits = Units | Mapping[str, Units]
"""Units of one clip, or all its speech streams by name (``"units"`` among them)."""


@runtime_checkable
class UnitTokenizer(Protocol):
    """What turns sound into units.

    Attributes:
        n_units: how many distinct units there are, in the stream ``"units"``.
        sample_rate_hz: the sample rate that `encode` expects.
        frame_rate_hz: encoder frames per second.
        dedup: whether `encode` collapses runs of one unit.
    """

    n_units: int
    sample_rate_hz: int
    frame_rate_hz: float
    dedup: bool

    def encode(self, waveform: Float[Tensor, " n_samples"]) -> SpeechUnits:
        """Units of one mono clip at `sample_rate_hz`, or several streams of it by name."""
        ...
