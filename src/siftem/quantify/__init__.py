"""Compositions of phases, with detection limits and all their errors.

The package is also the front-door function: ``siftem.quantify(spectrum, elements)`` and
``siftem.quantify.composition`` both work, whichever is used first.
"""

from siftem.callable_package import also_a_function

also_a_function(__name__, "siftem.quantify.composition")
