"""Poisson fits of spectra on known shapes: lines, continuum, and what else is given."""
