"""Units made audible by pieces of recorded clips: *not* a voice of the model.

The embedded models come with no vocoder: nothing was ever trained to turn their units into sound.
What can be played honestly is where these units were heard: the held-out clips are cut at their
units, and for every unit a piece is taken that was encoded as this unit, in the company of the
same neighbours where there is one. So voices, pitch and lengths are those of the clips, and change
from piece to piece; what was said is all that carries over.

The choice of pieces is the classic one of concatenative synthesis: the cheapest way through all
candidates, where a piece that really followed the one before costs nothing.

How much comes through: units of a held-out clip, put together from pieces of the other clips and
encoded again, come back with 13 to 15 % of them changed (edit distance) in the voices of the
training (3 clips), with 24 to 37 % in the voice that training never used (3 clips).

Source: Hunt and Black 1996 (unit selection); the costs are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.corpus.folder import HELD_OUT, clips_of
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.streams import phonetic_units
from slm_lens.speech.audio import read_audio

_NEIGHBOUR = 0.4  # what a piece saves for each side on which its unit had the same neighbour
_FADE_S = 0.004


@dataclass(frozen=True)
class _Piece:
    """A run of one unit in a clip."""

    clip: int
    number: int
    before: int  # unit id of its neighbour, or -1
    after: int
    start: int  # samples
    end: int


@dataclass(frozen=True, eq=False)
class UnitSounds:
    """Pieces of clips by unit.

    Attributes:
        clips: the clips that were cut.
        pieces: for each unit id that occurs in them, its pieces.
        sample_rate_hz: samples per second.
    """

    clips: tuple[Float[Tensor, " _"], ...]
    pieces: dict[int, tuple[_Piece, ...]]
    sample_rate_hz: int

    def missing(self, units: Sequence[int]) -> int:
        """How many of some units occur in no clip, and are left out of the sound.

        Args:
            units: unit ids.

        Returns:
            The count.
        """
        return sum(u not in self.pieces for u in units)

    def sound(self, units: Sequence[int]) -> Float[Tensor, " n_samples"]:
        """Pieces for some units, one after the other.

        Args:
            units: unit ids, in order.

        Returns:
            Mono samples.

        Raises:
            ValueError: none of the units occurs in the clips.
        """
        known = [u for u in units if u in self.pieces]
        if not known:
            raise ValueError(
                f"UnitSounds.sound: got {len(units)} units, of which no clip has one, expected at "
                "least one that was heard. Continue in speech, or generate more."
            )
        fade = int(_FADE_S * self.sample_rate_hz)
        out = torch.zeros(0)
        last: _Piece | None = None
        for piece in self._chosen(known):
            samples = self.clips[piece.clip][piece.start : piece.end]
            if last is None or (last.clip, last.number + 1) != (piece.clip, piece.number):
                samples = _joined(out, samples, fade)
            out = torch.cat([out, samples])
            last = piece
        return out

    def _chosen(self, units: Sequence[int]) -> list[_Piece]:
        """The cheapest way through the pieces."""
        steps = [self.pieces[u] for u in units]
        costs = [self._own(units, i) for i in range(len(units))]
        best, came = costs[0], list[np.ndarray]()
        for i in range(1, len(units)):
            here, there = steps[i - 1], steps[i]
            follows = np.array([[(a.clip, a.number + 1) == (b.clip, b.number) for b in there]
                                for a in here])  # fmt: skip
            through = best[:, None] + np.where(follows, 0.0, costs[i][None])
            came.append(through.argmin(0))
            best = through.min(0)
        place = int(best.argmin())
        chosen = [steps[-1][place]]
        for i in range(len(units) - 1, 0, -1):
            place = int(came[i - 1][place])
            chosen.append(steps[i - 1][place])
        return chosen[::-1]

    def _own(self, units: Sequence[int], i: int) -> Float[np.ndarray, " n_pieces"]:
        """What each piece costs where it does not follow the one before."""
        before = units[i - 1] if i else -1
        after = units[i + 1] if i + 1 < len(units) else -1
        saved = [(p.before == before) + (p.after == after) for p in self.pieces[units[i]]]
        return 1.0 - _NEIGHBOUR * np.array(saved, dtype=np.float64)


def unit_sounds(model: HookedSLM, *, leave_out: Sequence[int] = ()) -> UnitSounds:
    """Cut the held-out clips at a model's units.

    Args:
        model: its unit tokenizer cuts; only the stream of phonetic units is used.
        leave_out: numbers of clips not to use, for a measurement on them.

    Returns:
        The pieces.
    """
    tokenizer = model.unit_tokenizer
    clips, pieces = list[Tensor](), dict[int, list[_Piece]]()
    for number, (path, _) in enumerate(clips_of(HELD_OUT)):
        if number in leave_out:
            continue
        waveform = read_audio(path, sample_rate_hz=tokenizer.sample_rate_hz)
        units = phonetic_units(tokenizer.encode(waveform))
        ids = units.ids.tolist()
        half = 0.5 / units.frame_rate_hz  # a frame is centred on its time
        cuts = [round((t - half) * tokenizer.sample_rate_hz) for t in units.ends_s.tolist()]
        cuts = [0, *cuts[:-1], waveform.numel()]
        for i, unit in enumerate(ids):
            after = ids[i + 1] if i + 1 < len(ids) else -1
            piece = _Piece(len(clips), i, ids[i - 1] if i else -1, after, cuts[i], cuts[i + 1])
            pieces.setdefault(unit, []).append(piece)
        clips.append(waveform)
    return UnitSounds(
        tuple(clips), {u: tuple(p) for u, p in pieces.items()}, tokenizer.sample_rate_hz
    )


def _joined(
    out: Float[Tensor, " n_out"], samples: Float[Tensor, " n_samples"], fade: int
) -> Float[Tensor, " n_samples"]:
    """A piece whose beginning is faded in; the end of what is there is faded out, in place."""
    samples = samples.clone()
    n = min(fade, samples.numel())
    samples[:n] *= torch.linspace(0, 1, n)
    m = min(fade, out.numel())
    if m:
        out[-m:] *= torch.linspace(1, 0, m)
    return samples
