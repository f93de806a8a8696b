"""What components are called."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.decomposition.factors import Factors, component_name
from siftem.decomposition.layout import Lies, PhaseLayout
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, SiftemWarning
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.steps.match import _telling, matched_phases, run_elements
from siftem.spectrum_image import SpectrumImage
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number, atomic_weight
from siftem.xray.lines import family_emission, line_families

AXIS = EnergyAxis(0.2, 0.01, 900, "keV")


def phase(soft=1.0, **atoms):
    """Expected counts, sum 1; L lines of Fe more or less than theory says."""
    families = line_families(atoms, beam_energy=200.0, low=AXIS.first, high=AXIS.last)
    photons = [
        atoms[f.element]
        * (soft if f.name == "Fe L" else 1.0)
        * family_emission(f, 200.0)
        / atomic_weight(f.element)
        for f in families
    ]
    model = SpectrumModel(tuple(families), 200.0, Detector(), 2)
    lines = model.line_columns(AXIS, Calibration()) @ photons
    return 0.9 * lines / lines.sum() + 0.1 / AXIS.size


def halves(*expected):
    """A map with one phase in each half, its components, and whose each pixel is."""
    own = np.repeat([0, 1], 200)
    counts = np.random.default_rng(0).poisson(np.array(expected)[own])
    si = SpectrumImage(
        sp.csr_array(counts),
        (20, 20),
        AXIS,
        acquisition=Acquisition(beam_energy=200.0, resolution=130.0),
        signal_type="EDS_TEM",
    )
    means = np.array([counts[own == i].sum(axis=0) for i in (0, 1)], float)
    own = own.reshape(20, 20)
    maps = np.array([total.sum() * (own == i) for i, total in enumerate(expected)])
    spectra = means / means.sum(axis=1, keepdims=True)
    return si, Factors(maps, spectra, AXIS, ("A", "B"), 1.0, 1, True), own


@pytest.mark.parametrize("dose", [100, 3000])
def test_an_element_that_lies_below_lines_of_another_names_nothing(dose):
    si, factors, _ = halves(dose * phase(1.2, Fe=56, S=32), dose * phase(Ca=40, F=60))
    fields = {"input": {"file": "given"}, "elements": ["F", "S", "Ca", "Fe"]}
    first, second = matched_phases(make_recipe(fields), si, factors).factors.names
    assert (first, second) == ("A (Fe S)", "E (F Ca)")
    for called in ("E (F Ca)", "B (F Ca)"):  # as before
        recipe = make_recipe({**fields, "matrix": called})
        assert matched_phases(recipe, si, factors).matrix == "E (F Ca)"


def test_no_letter_can_be_taken_for_an_element():
    letters = [component_name(i) for i in range(24)]
    assert letters[:4] == ["A", "E", "G", "J"]
    assert letters[11:13] == ["A2", "E2"]
    assert len(set(letters)) == len(letters)
    for letter in letters:
        with pytest.raises(InputError):
            atomic_number(letter)


def test_what_sets_a_phase_apart_is_in_its_name():
    ni, cr, fe, nb = range(4)
    matrix = [60.0, 20.0, 18.0, 0.5, 1.5]
    precipitate = [85.0, 4.0, 4.0, 5.0, 2.0]
    assert _telling(np.array([matrix, precipitate])) == [[ni, cr, fe], [ni, nb]]
    precipitate[nb + 1] = 7.0
    assert _telling(np.array([matrix, precipitate])) == [[ni, cr, fe], [ni, nb + 1, nb]]
    precipitate[nb + 1] = 2.0
    # Strong lines that others lack tell enough; traces tell nothing.
    precipitate[cr], precipitate[nb] = 0.5, 1.0
    assert _telling(np.array([matrix, precipitate])) == [[ni, cr, fe], [ni]]
    assert _telling(np.array([[0.0, 0.0], [1.0, 0.0]])) == [[], [0]]


@pytest.mark.parametrize(
    ("first", "second"),
    # By the sum of all pixels W M explains Si K, and Mo L S K, which have no other line.
    [({"W": 184}, {"Si": 28, "O": 32}), ({"Mo": 96}, {"S": 32, "Cd": 112})],
)
def test_an_element_below_a_line_of_another_is_found_in_its_phase(first, second):
    si, factors, own = halves(400 * phase(**first), 40 * phase(**second))
    lies = (Lies("pure", (), 0.0, 0.5, 200.0),) * 2
    factors = replace(factors, layout=PhaseLayout("side by side", lies, own))
    with pytest.warns(SiftemWarning, match="no elements are named"):
        elements = run_elements(make_recipe({"input": {"file": "given"}}), si, factors)
    assert set(elements) == {*first, *second}
