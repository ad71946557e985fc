"""The figures of each study, from its tables."""
