"""Sparse autoencoders on the residual stream: training, measures, files, what a feature reads."""
