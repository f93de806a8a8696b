"""The recipe of the demo: the model case, simulated."""

from __future__ import annotations

from siftem.pipeline.recipe import Recipe, make_recipe


def demo_recipe(
    *, shape: tuple[int, int] = (128, 128), dose: float = 300.0, random_state: int = 0
) -> Recipe:
    """Return the recipe that simulates and runs the model case.

    Parameters
    ----------
    shape : tuple of int
        Pixels (ny, nx).
    dose : float
        Mean counts a pixel.
    random_state : int
        Of the simulation and of the run.
    """
    return make_recipe(
        {
            "title": "Simulated model case",
            "input": {"demo": {"shape": shape, "dose": dose, "random_state": random_state}},
            "elements": ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U"],
            "support": ["Cu"],
            "matrix": "Brg",
            "phases": {
                "Brg": {"high": ["Si", "Al"], "density": 4.25, "oxygens": 3},
                "Fp": {
                    "high": ["Mg", "Fe"],
                    "absent": ["Si"],
                    "anchor": {"absent": ["Si"]},
                    "density": 4.1,
                    "oxygens": 1,
                },
                # Ca-perovskite holds a few percent of Mg for Ca: assuming none would be wrong.
                "Ca-Pv": {
                    "high": ["Ca", "Nd"],
                    "anchor": {
                        "ratio": {
                            "numerator": "Mg",
                            "denominator": "Ca",
                            "value": 0.03,
                            "sigma": 0.02,
                        }
                    },
                    "density": 4.4,
                    "oxygens": 3,
                },
            },
            "decompose": {"random_state": random_state},
            "segment": {"random_state": random_state},
            "quantify": {
                "thickness": 100,
                "window": "none",
                "ratios": [
                    "(Mg+Fe)/O",
                    "(Mg+Fe+Ca+Al/2)/(Si+Al/2)",
                    "(Ca+Mg+Fe)/(Si+Al)",
                    "Mg/(Mg+Fe)",
                ],
            },
            "figures": {"trace_lines": ["Nd La", "Sm La"]},
        }
    )
