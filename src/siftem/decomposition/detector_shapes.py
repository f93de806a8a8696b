"""What an X-ray spectrum can be: lines on a continuum, or peaks as wide as the detector makes them.

Whatever the sample emits, the detector spreads it: a measured spectrum is a non-negative sum of
such peaks. That is known without a single element being named, and takes most of the noise from a
spectrum whose channels are narrower than a line.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.ndimage import uniform_filter1d

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.fit.poisson import fit_poisson
from siftem.fit.spectrum_model import Absorption, Calibration, SpectrumModel
from siftem.hyperspy_input import as_spectrum
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.lines import line_families


def physics_basis(
    axis: EnergyAxis,
    elements: Sequence[str],
    *,
    beam_energy: float,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    absorption: Absorption | None = None,
    n_continuum: int = 3,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the shapes that X-ray spectra of these elements are made of.

    For ``siftem.decompose(basis=...)``; the shapes of the physics-guided factorisation of
    Teurtrie et al. 2023 (Ultramicroscopy 249, 113719).

    Parameters
    ----------
    axis : EnergyAxis
    elements : sequence of str
    beam_energy : float
        keV.
    detector : Detector, optional
    calibration : Calibration, optional
        How the measured energies differ from the nominal ones.
    absorption : callable, optional
        Share of the photons that leave the film, by energy in keV.
    n_continuum : int
        Terms of the continuum.

    Returns
    -------
    basis : ndarray of shape (channels, p)
        Non-negative, each column summing to one.
    names : tuple of str
        Element and shell of each column, then the continuum terms.
    """
    kev = axis.to_kev()
    families = line_families(elements, beam_energy=beam_energy, low=kev.first, high=kev.last)
    detector = detector or Detector()
    calibration = calibration or Calibration(
        resolution=detector.resolution, collection_depth=detector.collection_depth
    )
    model = SpectrumModel(tuple(families), beam_energy, detector, n_continuum, absorption)
    columns = np.concatenate(
        [model.line_columns(axis, calibration), model.continuum_columns(axis, calibration)],
        axis=1,
    )
    columns = np.maximum(columns, 0)
    total = columns.sum(axis=0)
    seen = total > 1e-6 * total.max()
    if not seen.any():
        raise InputError(
            f"none of {', '.join(elements)} has lines on the axis: name other elements"
        )
    names = tuple(n for n, s in zip(model.names, seen, strict=True) if s)
    return columns[:, seen] / total[seen], names


def fitted_by(basis: np.ndarray, spectra: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Fit each spectrum, with the noise of as many counts as its component has."""
    basis = np.asarray(basis, np.float64)
    m = spectra.shape[1]
    if basis.ndim != 2 or basis.shape[0] != m:
        raise InputError(
            f"basis must have shape ({m}, shapes), one row a channel, got {basis.shape}"
        )
    if not np.isfinite(basis).all() or (basis < 0).any() or not (basis.sum(axis=0) > 0).all():
        raise InputError("the columns of basis must be finite, non-negative and not zero")
    out = np.empty_like(spectra)
    for c, spectrum in enumerate(spectra):
        fit = fit_poisson(basis, spectrum * max(counts[c], 1.0))
        out[c] = fit.mean / fit.mean.sum()
    return out


#: Peaks are taken sharper than the resolution by the first of these factors that fits.
_SHARPER = (0.85, 0.6)
#: Distance of the peaks in widths at half maximum.
_STEP = 0.35
_SIGMA_PER_FWHM = 1 / np.sqrt(8 * np.log(2))
#: Peaks end at this many standard deviations.
_REACH = 6.0
#: Misfit in units of the noise that the shapes take away.
_WORST_MISFIT = 0.5
#: The variance of a channel is taken from this many, and is at least this share of the mean.
_CHANNELS, _LEAST = 9, 1e-2
_MOST_EXCHANGES = 40
#: Ridges on the scaled amplitudes, one after the other: neighbouring peaks are much alike. The
#: last one takes 0.1 percent of an amplitude.
_RIDGES = (1e-2, 1e-3)
#: Amplitudes and gradients below this share of the largest count as zero.
_ZERO = 1e-5


def detector_shapes(axis: EnergyAxis, resolution: float, sharper: float) -> np.ndarray:
    """Return peaks along the whole axis, ``sharper`` times as wide as the detector's.

    Parameters
    ----------
    axis : EnergyAxis
    resolution : float
        FWHM at Mn Ka, eV.
    sharper : float
        Factor on the width; below one, for mixtures of neighbouring peaks are wider than each.

    Returns
    -------
    ndarray of shape (channels, peaks), float64
    """
    kev = axis.to_kev()
    centers, channel = kev.centers, kev.scale
    detector = Detector(resolution=resolution)
    columns = []
    at, end = centers[0], centers[-1] + 0.5 * channel
    while at < end:
        width = 1e-3 * float(detector.fwhm(at))
        # A channel adds its own width; where it is wider than a peak, there is one peak in it.
        sigma = np.hypot(sharper * width * _SIGMA_PER_FWHM, channel / np.sqrt(12))
        distance = (centers - at) / sigma
        columns.append(np.where(np.abs(distance) < _REACH, np.exp(-0.5 * distance**2), 0.0))
        at += max(_STEP * width, channel)
    return np.stack(columns, axis=1)


class DetectorView:
    """What the detector can see, for one map.

    The mean spectrum of the map, which has the least noise, says whether the shapes are right:
    the detector may be sharper than was said, or the axis wrong.

    Parameters
    ----------
    mean : ndarray of shape (m,)
        Counts of the map in each channel.
    axis : EnergyAxis
        X-ray energies.
    resolution : float
        FWHM at Mn Ka, eV.
    """

    def __init__(self, mean: np.ndarray, axis: EnergyAxis, resolution: float) -> None:
        self.total = max(float(mean.sum()), 1e-300)
        variance = uniform_filter1d(mean, _CHANNELS, mode="nearest") + _LEAST * mean.mean()
        self.fits = []
        for sharper in _SHARPER:
            fit = NonNegativeFit(detector_shapes(axis, resolution, sharper), variance)
            chi_square = float(((mean - fit(mean)) ** 2 / variance).sum())
            self.fits.append((fit, chi_square / mean.size - 1))
            if chi_square <= (1 + _WORST_MISFIT) * mean.size:
                break

    def of(self, spectrum: np.ndarray, counts: float) -> np.ndarray:
        """Return the non-negative spectrum that the detector can see nearest to a noisy one.

        By weighted least squares. Where the misfit of the shapes, scaled to the counts of the
        component, exceeds half of the noise that they would take away, the spectrum
        comes back with its negative channels set to zero, and nothing else done.

        Parameters
        ----------
        spectrum : ndarray of shape (m,)
            Of either sign.
        counts : float
            That the component holds.

        Returns
        -------
        ndarray of shape (m,), float64
            Not scaled.
        """
        for fit, misfit in self.fits:
            if misfit * counts / self.total <= _WORST_MISFIT:
                return fit(spectrum)
        return np.maximum(spectrum, 0)


class NonNegativeFit:
    """Weighted non-negative least squares with shapes of which only neighbours overlap.

    Block principal pivoting (Portugal, Judice & Vicente 1994, Math. Comput. 63, 625): all
    amplitudes and gradients of the wrong sign change sides at once, and one at a time when that
    stops to help.
    """

    def __init__(self, shapes: np.ndarray, variance: np.ndarray) -> None:
        self.shapes = shapes
        self.weighted = shapes / variance[:, None]
        gram = self.weighted.T @ shapes
        self.scale = 1 / np.sqrt(np.diag(gram))
        gram *= np.outer(self.scale, self.scale)
        row, column = np.nonzero(gram)
        self.band = int((column - row).max())
        self.grams = [gram + ridge * np.eye(len(gram)) for ridge in _RIDGES]

    def __call__(self, spectrum: np.ndarray) -> np.ndarray:
        """Return the best non-negative sum of the shapes, (m,)."""
        target = self.scale * (spectrum @ self.weighted)
        amplitudes, free = np.zeros(target.size), target > 0
        for gram in self.grams:
            amplitudes = self._pivoted(gram, target, free)
        return np.asarray(self.shapes @ (self.scale * np.maximum(amplitudes, 0)))

    def _pivoted(self, gram: np.ndarray, target: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Amplitudes; ``free``, those that may be positive, is changed in place."""
        tol = _ZERO * max(float(np.abs(target).max()), 1e-300)
        fewest, patience = target.size + 1, 3
        amplitudes = np.zeros(target.size)
        for _ in range(_MOST_EXCHANGES):
            amplitudes = self._solved(gram, target, free)
            gradient = gram @ amplitudes - target
            wrong = np.flatnonzero(np.where(free, amplitudes < -tol, gradient < -tol))
            if not wrong.size:
                break
            if wrong.size < fewest:
                fewest, patience = wrong.size, 3
            elif patience:
                patience -= 1
            else:
                wrong = wrong[-1:]
            free[wrong] ^= True
        return amplitudes

    def _solved(self, gram: np.ndarray, target: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Solve for the free amplitudes; the others are zero."""
        index = np.flatnonzero(free)
        out = np.zeros(target.size)
        if index.size:
            among = gram[np.ix_(index, index)]
            lower = np.zeros((min(self.band, index.size - 1) + 1, index.size))
            for d in range(len(lower)):
                lower[d, : index.size - d] = np.diagonal(among, -d)
            factor = cholesky_banded(lower, lower=True, check_finite=False)
            out[index] = cho_solve_banded((factor, True), target[index], check_finite=False)
        return out


def denoised(spectrum: Spectrum) -> np.ndarray:
    """Free a spectrum from most of its noise, to look at it and to compare shapes.

    It is the nearest non-negative sum of peaks as wide as the detector makes them; nothing is
    assumed of elements. What is quantified is the spectrum itself: this has no error.

    Parameters
    ----------
    spectrum : Spectrum
        Of X-rays; a HyperSpy signal counts as one. May be negative, as what is left after a
        subtraction.

    Returns
    -------
    ndarray of shape (m,), float64
        Counts. Where such peaks can't describe the spectrum, as energy losses, it comes back with
        its negative channels set to zero, and nothing else done.

    Examples
    --------
    >>> import numpy as np
    >>> phantoms = [siftem.simulate_demo((32, 32), dose=n) for n in (9, 900)]
    >>> few, many = (p.spectrum_image.without_zero_peak() for p in phantoms)
    >>> all_pixels = np.ones(few.shape, bool)
    >>> noisy, true = (siftem.integrate(si, all_pixels) for si in (few, many))
    >>> smooth = siftem.denoised(noisy)
    >>> true.angle_to(smooth) < 0.7 * true.angle_to(noisy)
    True
    """
    spectrum = as_spectrum(spectrum)
    counts = np.maximum(spectrum.counts, 0.0)
    view = DetectorView(counts, spectrum.axis, spectrum.acquisition.fwhm)
    return view.of(spectrum.values, float(counts.sum()))
