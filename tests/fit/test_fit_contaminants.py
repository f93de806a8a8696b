"""Lines of elements that nobody lists, beside faults of the model that look like some."""

import numpy as np
import pytest
from foreign_physics import AXIS, expected, peak

from siftem.fit.null_elements import null_elements
from siftem.spectrum import Spectrum

ELEMENTS, COUNTS = ["O", "Mg", "Si", "Ca", "Fe"], 3e6
#: keV and weights, from public tables of lines.
CHLORINE = ((2.622, 0.92), (2.816, 0.08))


#: Behind thick matter Lb is twice La, in a film 0.7 of it.
TUNGSTEN = ((8.398, 0.30), (9.672, 0.5), (9.962, 0.2))


def unlisted(seed, lines, counts, shift=0.0):
    mean = expected(COUNTS) + counts * sum(w * peak(e + shift) for e, w in lines)
    drawn = np.random.default_rng(seed).poisson(mean).astype(float)
    found = null_elements(Spectrum(drawn, AXIS), ELEMENTS, support=["Cu"], beam_energy=200.0)
    return found


def test_chlorine_that_is_there_is_found_named_and_fitted():
    found = unlisted(0, CHLORINE, 2500)
    (chlorine,) = found.contaminants
    assert (chlorine.element, chlorine.line) == ("Cl", "Cl K")
    assert chlorine.energy == pytest.approx(2.622, abs=1e-3)
    # Within its error of what was put there.
    assert chlorine.counts == pytest.approx(2500, abs=3 * 2500 / chlorine.significance)
    assert "Cl" not in found.z and "not listed but there: Cl K" in found.describe()


def test_tungsten_of_an_aperture_is_found_though_its_soft_lines_are_lost():
    (tungsten,) = unlisted(0, TUNGSTEN, 2500).contaminants
    assert (tungsten.element, tungsten.line) == ("W", "W L")
    assert tungsten.energy == pytest.approx(8.39, abs=0.01)


@pytest.mark.parametrize(
    ("lines", "counts", "shift"),
    [
        pytest.param(CHLORINE, 0, 0.0, id="nothing"),
        # A peak that lies where no line of a likely element is.
        pytest.param(CHLORINE[:1], 2500, 0.06, id="elsewhere"),
        # One of two peaks that go together.
        pytest.param(((7.478, 0.0), (8.265, 1.0)), 2500, 0.0, id="beta alone"),
    ],
)
def test_what_is_no_element_is_not_named(lines, counts, shift):
    assert unlisted(1, lines, counts, shift).contaminants == ()
