"""Whole experiments of the paper."""
