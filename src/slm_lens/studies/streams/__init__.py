"""Perceiving or generating: affinities around a switch of modality, inertia, steering."""
