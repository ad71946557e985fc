"""One number for a lens: how far it is from the model's own prediction in the middle layers."""

import polars as pl

from slm_lens.lens.fit_settings import FitPositions


def middle_divergence(table: pl.DataFrame, lens: str, positions: FitPositions) -> float:
    """Mean of the KL over the middle layers, a quarter to three quarters of the way up.

    Args:
        table: what `lens_divergence` gave.
        lens: name of the lens in it.
        positions: modality of the positions.

    Returns:
        Nats; every one of the layers ``n_layers // 4`` to ``3 * n_layers // 4`` counts the same.

    Raises:
        LookupError: the table has no such rows.

    Source:
        Ours.
    """
    n_layers = 0 if table.is_empty() else table["layer"].to_numpy().max()
    middle = pl.col("layer").is_between(n_layers // 4, 3 * n_layers // 4)
    rows = table.filter(middle, lens=lens, positions=positions)
    if rows.is_empty():
        known = table.select("lens", "positions").unique(maintain_order=True).rows()
        raise LookupError(
            f"middle_divergence: got lens {lens!r} at {positions!r} positions, expected one of "
            f"{known}. Have the sequences positions of that modality?"
        )
    return float(rows["kl_nats"].to_numpy().mean())
