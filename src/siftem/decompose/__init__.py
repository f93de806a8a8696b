"""Poisson factorisation of sparse counts into maps and spectra.

The package is also the front-door function: ``siftem.decompose(si, n_components=3)`` and
``siftem.decompose.factors`` both work, whichever is used first.
"""

from siftem.callable_package import also_a_function

also_a_function(__name__, "siftem.decompose.factors")
