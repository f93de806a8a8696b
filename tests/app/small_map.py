"""The recipe of a small demo, for tests that look at what the app makes of it."""

from siftem.pipeline.changes import merged_recipe
from siftem.pipeline.starting_recipe import demo_recipe

#: With channels up to 11 keV, where all its elements have lines: half the time.
SMALL = merged_recipe(
    demo_recipe(), {"input": {"demo": {"shape": [32, 32], "dose": 400.0, "channels": 1100}}}
)
