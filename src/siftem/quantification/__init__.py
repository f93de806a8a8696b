"""Compositions of phases, with detection limits and all their errors."""
