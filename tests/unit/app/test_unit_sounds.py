import itertools

import numpy as np
import pytest
import torch

from slm_lens.app.unit_sounds import UnitSounds, _Piece


def bank(sequences, n_samples=10):
    """Clips of constant samples, cut at units of equal length."""
    clips, pieces = [], {}
    for clip, units in enumerate(sequences):
        clips.append(torch.arange(1, len(units) + 1).repeat_interleave(n_samples).float())
        for i, unit in enumerate(units):
            before = units[i - 1] if i else -1
            after = units[i + 1] if i + 1 < len(units) else -1
            piece = _Piece(clip, i, before, after, i * n_samples, (i + 1) * n_samples)
            pieces.setdefault(unit, []).append(piece)
    return UnitSounds(tuple(clips), {u: tuple(p) for u, p in pieces.items()}, 1000)


def price(sounds, units, chosen):
    """What a choice costs, from its definition: 1, less 0.4 for each neighbour; 0 if it follows."""
    total = 0.0
    for i, (unit, piece) in enumerate(zip(units, chosen, strict=True)):
        assert piece in sounds.pieces[unit]
        before = units[i - 1] if i else -1
        after = units[i + 1] if i + 1 < len(units) else -1
        last = chosen[i - 1] if i else None
        if last is None or (last.clip, last.number + 1) != (piece.clip, piece.number):
            total += 1 - 0.4 * ((piece.before == before) + (piece.after == after))
    return total


def test_the_choice_is_the_cheapest_of_all():
    generator = np.random.default_rng(0)
    sounds = bank([generator.integers(0, 4, 7).tolist() for _ in range(2)])
    for _ in range(10):
        units = generator.choice(list(sounds.pieces), 5).tolist()
        best = min(
            price(sounds, units, way)
            for way in itertools.product(*(sounds.pieces[u] for u in units))
        )
        assert price(sounds, units, sounds._chosen(units)) == pytest.approx(best)


def test_a_clip_comes_back_as_it_was():
    sounds = bank([[3, 1, 2, 1], [1, 3]])
    whole = sounds.sound([3, 1, 2, 1])
    # Only its beginning is faded in: 4 samples.
    assert torch.equal(whole[4:], sounds.clips[0][4:])
    assert whole[0] == 0


def test_units_that_were_never_heard_are_counted_and_left_out():
    sounds = bank([[3, 1]])
    assert sounds.missing([3, 7, 1, 8]) == 2
    assert len(sounds.sound([3, 7, 1])) == 20
    with pytest.raises(ValueError, match="got 2 units, of which no clip has one"):
        sounds.sound([7, 8])
