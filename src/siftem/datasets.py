"""Maps to try things on: simulated ones with known truth, and the real map of 71 GPa."""

from siftem.io.example import fetch_71gpa
from siftem.simulate.elnes import ElnesPhantom, simulate_elnes
from siftem.simulate.phantom import Phantom, simulate, simulate_demo

__all__ = [
    "ElnesPhantom",
    "Phantom",
    "fetch_71gpa",
    "simulate",
    "simulate_demo",
    "simulate_elnes",
]
