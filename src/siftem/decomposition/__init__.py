"""Poisson factorisation of sparse counts into maps and spectra."""
