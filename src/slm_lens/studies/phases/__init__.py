"""Phases across models: the main curves of the paper with controls, and errors by their kind."""
