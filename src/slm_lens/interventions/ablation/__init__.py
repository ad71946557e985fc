"""Directions and activations taken out."""
