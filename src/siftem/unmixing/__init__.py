"""Spectra of regions and what is left of them after the matrix is taken away."""
