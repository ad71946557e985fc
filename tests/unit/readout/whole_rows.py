"""Readouts from whole rows of logits in numpy and float64: no tiles, no running sums, no torch."""

import numpy as np


def rank(logits, ids, subset):
    """``1 + how many of the subset are above the best of the ids``, counted one by one."""
    best = max(logits[i] for i in ids)
    return 1 + int((logits[list(subset)] > best).sum())


def log_softmax(logits):
    logits = np.asarray(logits, dtype=np.float64)
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def entropy(logits):
    log_p = log_softmax(logits)
    return -(np.exp(log_p) * log_p).sum(-1)


def divergence(final, logits):
    """``KL(final || logits)``."""
    log_p, log_q = log_softmax(final), log_softmax(logits)
    return (np.exp(log_p) * (log_p - log_q)).sum(-1)


def top_ids(logits, ids, k):
    """The k highest of the ids, the lower id first among equal logits."""
    return sorted(ids, key=lambda i: (-logits[i], i))[:k]


def pooled(logits, spans, pool):
    """One row for each half-open span of positions."""
    if pool == "last":
        return np.stack([logits[end - 1] for _, end in spans])
    return np.stack([logits[start:end].max(0) for start, end in spans])
