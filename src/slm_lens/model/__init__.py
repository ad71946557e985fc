"""Speech-text models as hooked TransformerLens models."""
