"""The figure of unmixing."""

import numpy as np
import pytest
from made_up_map import build_case
from test_figures_layout import CASES, assert_tidy, images, letters

from siftem.figures.fits import figure3
from siftem.figures.style import BEHIND_COLOUR, Look, phase_colours
from siftem.fit.spectrum_model import Calibration
from siftem.spectrum import Spectrum
from siftem.unmixing.unmixed import Unmixed

CUT = 4


def unmixed_of(case):
    """What unmixing would give, on an axis that is cropped by a few channels."""
    names = case.factors.names
    axis = case.si.axis.cropped(slice(CUT, None))
    totals = case.factors.maps.sum(axis=(1, 2))
    spectra = {
        name: Spectrum(total * values[CUT:], axis, name=name)
        for name, values, total in zip(names, case.factors.spectra, totals, strict=True)
    }
    maps = case.factors.maps.copy()
    maps[:, 0, :] = np.nan
    return Unmixed(
        names=names,
        spectra=spectra,
        free_spectra=spectra,
        maps=maps,
        maps_sigma=np.sqrt(maps),
        coefficients=np.zeros((len(names), 1)),
        covariance=np.zeros((len(names), len(names))),
        columns=("x",),
        anchors={},
        calibration=Calibration(),
        deviance=1.0,
        n_iter=2,
        converged=True,
    )


@pytest.mark.parametrize("which", [c for c in CASES if c != "energy loss"])
def test_it_is_tidy_and_complete(which):
    case = build_case(**CASES[which])
    unmixed = unmixed_of(case)
    figure = figure3(
        case.si, unmixed, subtracted={"Brg": case.whole, **case.grains}, line_labels=case.labels
    )
    assert_tidy(figure)
    k = len(unmixed.names)
    assert len(letters(figure)) == 2 * k + 1
    shown = images(figure)[: 2 * k]
    for image, expected in zip(shown, [*unmixed.maps, *unmixed.maps_sigma], strict=True):
        np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), expected)


@pytest.mark.parametrize("width", [85.0, 175.0])
def test_it_is_as_wide_as_it_is_wanted(width):
    case = build_case(**CASES["three phases"])
    figure = figure3(
        case.si, unmixed_of(case), subtracted={}, line_labels=case.labels, look=Look(width=width)
    )
    assert_tidy(figure)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(width)


def test_the_subtracted_spectrum_lies_behind_at_the_same_counts():
    case = build_case()
    unmixed = unmixed_of(case)
    figure = figure3(case.si, unmixed, subtracted={"Brg": case.whole})
    colours = phase_colours(unmixed.names)
    strip = next(
        ax for ax in figure.axes if any(line.get_color() == BEHIND_COLOUR for line in ax.lines)
    )
    behind = next(line for line in strip.lines if line.get_color() == BEHIND_COLOUR)
    own = unmixed.spectra["Brg"].values
    other = case.whole.values[CUT:] * own.sum() / case.whole.values[CUT:].sum()
    floor = strip.get_ylim()[0]
    clipped = np.maximum(np.append(other, other[-1]), floor)
    np.testing.assert_allclose(behind.get_ydata(), clipped)
    assert any(line.get_color() == colours["Brg"] for line in strip.lines)
