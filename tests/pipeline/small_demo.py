"""The demo for tests that look at what the road does, not at how well."""

from siftem.pipeline.starting_recipe import demo_recipe


def small_demo(**options):
    """The demo with channels up to 11 keV: all its elements have lines there, for half the time."""
    recipe = demo_recipe(**options)
    demo = recipe.input.demo.model_copy(update={"channels": 1100})
    given = recipe.input.model_copy(update={"demo": demo})
    return recipe.model_copy(update={"input": given})
