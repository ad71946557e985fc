"""Collections of clips."""
