"""Phases of the computation: transcription, next word, return to speech."""
