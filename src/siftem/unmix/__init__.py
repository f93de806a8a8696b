"""Spectra of regions and what is left of them after the matrix is taken away.

The package is also the front-door function: ``siftem.unmix(si, regions, anchors=...)`` and
``siftem.unmix.constrained`` both work, whichever is used first.
"""

from siftem.callable_package import also_a_function

also_a_function(__name__, "siftem.unmix.constrained")
