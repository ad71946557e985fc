"""Causal tracing of the subjects of prompts."""
