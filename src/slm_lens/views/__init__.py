"""Pictures, drawn from result objects only."""
