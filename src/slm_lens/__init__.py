"""Mechanistic interpretability of interleaved speech-text language models."""
