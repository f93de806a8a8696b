"""Phantoms with known truth: grain geometry, phase spectra, counting noise."""
