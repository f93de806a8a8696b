"""Maps and spectra of a spectrum image, and what to do with a component of a single pixel."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from siftem.counting.outliers import checked_counts, emptied
from siftem.decomposition.chosen_spectra import ChosenSpectra, choose_spectra
from siftem.decomposition.detector_shapes import fitted_by
from siftem.decomposition.identify import Indeterminacy, shear_freedom
from siftem.decomposition.layout import PhaseLayout, phase_layout
from siftem.decomposition.poisson_fit import PoissonFit
from siftem.decomposition.solver import Checkpoint, even_weights, poisson_objective, solve_weights
from siftem.decomposition.solver_rows import solver_rows
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.hyperspy_input import as_map
from siftem.large.disk_images import copied_beside, let_go
from siftem.machine import one_blas_thread
from siftem.progress import Progress, shows_progress, silent
from siftem.spectrum_image import SpectrumImage
from siftem.views import view

if TYPE_CHECKING:
    from pandas import DataFrame


#: A component lives in a pixel that holds this share of it ...
_SHARE = 0.05
#: ... and so many times what any other pixel has.
_TIMES = 5.0


def lone_pixels(maps: np.ndarray) -> np.ndarray:
    """Find the pixels that have a component to themselves.

    Parameters
    ----------
    maps : ndarray of shape (k, ny, nx)

    Returns
    -------
    ndarray of int
        Their rows, without repeats. A map of few pixels has none: a grain may be one of them.
    """
    flat = maps.reshape(len(maps), -1)
    if flat.shape[1] < 100:
        return np.zeros(0, int)
    brightest = flat.argmax(axis=1)
    first = flat.max(axis=1)
    second = np.partition(flat, -2, axis=1)[:, -2]
    total = flat.sum(axis=1)
    alone = (first > _TIMES * second) & (first > _SHARE * total)
    return np.unique(brightest[alone])


def left_out(si: SpectrumImage, pixels: np.ndarray) -> tuple[SpectrumImage, str]:
    """Empty some pixels; return the map and one sentence about it."""
    places = ", ".join("({}, {})".format(*divmod(int(p), si.shape[1])) for p in pixels[:3])
    more = ", ..." if pixels.size > 3 else ""
    note = (
        f"a component lived in one pixel alone, at (y, x) = {places}{more}: a bright speck or a "
        f"fault of the detector; left out, and decomposed again"
    )
    return emptied(si, pixels, note), note


#: Deviance a channel that a basis may cost.
_POOR_FIT = 5.0
#: Times that a map is decomposed, when components live in one pixel.
_TRIES = 4


@dataclass(frozen=True, eq=False, repr=False)
class Factors:
    """The two factors of a map.

    Parameters
    ----------
    maps : ndarray of shape (k, ny, nx)
        Counts that each component gave in each pixel; float64, beyond half a million pixels
        float32.
    spectra : ndarray of shape (k, channels)
        Each sums to one.
    axis : EnergyAxis
        Axis of the spectra.
    names : tuple of str
        A name for each component: A, E, G, J, ... until they are matched to phases.
    deviance : float
        Poisson deviance of these maps and spectra, over all pixels.
    n_iter : int
        Sweeps of the fit that the spectra come from.
    converged : bool
        Whether that fit stopped by its tolerance.
    matrix : int, optional
        Which component is the phase that is everywhere, where one was identified.
    indeterminacy : Indeterminacy, optional
        How far the counts alone leave the spectra open.
    pooled_pixels : int, optional
        Squares of pixels that the sweeps went over, where the spectra were chosen afterwards
        and the maps then fitted to them; None where the sweeps went over all pixels.
    layout : PhaseLayout, optional
        How the phases lie, in the same order, where the pixels tell.

    Examples
    --------
    >>> import numpy as np
    >>> axis = siftem.EnergyAxis(0.2, 0.01, 4)
    >>> spectra = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.4, 0.1, 0.1]])
    >>> maps = np.array([[[9.0, 5.0]], [[1.0, 5.0]]])
    >>> factors = siftem.Factors(maps, spectra, axis, ("A", "E"), 0.0, 1, True)  # as decompose does
    >>> factors
    <Factors of 1 x 2 pixels, 4 channels: A 70.0%, E 30.0% of the counts>
    >>> factors.shares[0].tolist()
    [[0.9, 0.5]]
    >>> named = factors.reordered((1, 0), ("Fp", "Brg"))
    >>> named.to_pandas().columns.tolist()
    ['Fp', 'Brg']
    >>> axes = named.plot(elements=["O"])
    """

    maps: np.ndarray
    spectra: np.ndarray
    axis: EnergyAxis
    names: tuple[str, ...]
    deviance: float
    n_iter: int
    converged: bool
    matrix: int | None = None
    indeterminacy: Indeterminacy | None = None
    pooled_pixels: int | None = None
    layout: PhaseLayout | None = None

    def __repr__(self) -> str:
        counts = self.counts
        total = max(float(counts.sum()), 1e-300)
        shares = ", ".join(
            f"{name} {100 * n / total:.1f}%" for name, n in zip(self.names, counts, strict=True)
        )
        ny, nx = self.maps.shape[1:]
        return (
            f"<Factors of {ny} x {nx} pixels, {self.axis.size} channels: {shares} of the counts"
            + ("" if self.layout is None else f"; {self.layout.sentence(self.names)}")
            + ("" if self.converged else "; NOT converged")
            + ">"
        )

    def _repr_html_(self) -> str:
        return str(view("factors_html")(self))

    def plot(
        self,
        *,
        elements: Sequence[str] = (),
        pixel_size: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Draw map and spectrum of each component, one above the other.

        Parameters
        ----------
        elements : sequence of str
            Whose lines are labelled.
        pixel_size : tuple of float, optional
            Height and width of a pixel in nm, for the scale bars.

        Returns
        -------
        ndarray of matplotlib Axes, shape (2, k)
            Maps above spectra.
        """
        drawn = view("plot_factors")(self, elements=elements, pixel_size=pixel_size)
        return np.asarray(drawn)

    def to_pandas(self) -> DataFrame:
        """Return the spectra, one column a component, one row a channel; index: energy."""
        return view("factors_frame")(self)

    @property
    def counts(self) -> np.ndarray:
        """Counts of each component in the whole map; float64 (k,)."""
        return np.array([_total(m) for m in self.maps])

    @property
    def shares(self) -> np.ndarray:
        """Each component's share of a pixel's counts; (k, ny, nx), 0 where a pixel is empty."""
        total = self.maps.sum(axis=0)
        return np.divide(self.maps, total, out=np.zeros_like(self.maps), where=total > 0)

    def reordered(self, order: tuple[int, ...], names: tuple[str, ...]) -> Factors:
        """Return the components in another order and with other names."""
        index = list(order)
        return replace(
            self,
            # Maps are large: they are copied only when their order changes.
            maps=self.maps
            if index == list(range(len(self.maps)))
            else copied_beside(self.maps, index),
            spectra=self.spectra[index],
            names=names,
            matrix=None if self.matrix is None else index.index(self.matrix),
            indeterminacy=self.indeterminacy and self.indeterminacy.reordered(index),
            layout=self.layout and self.layout.reordered(index),
        )


@shows_progress
@one_blas_thread()
def decompose(
    si: SpectrumImage,
    n_components: int = 3,
    *,
    random_state: int = 0,
    n_init: int = 1,
    tol: float = 1e-7,
    max_iter: int = 500,
    identify: bool = True,
    layout: str = "auto",
    basis: np.ndarray | None = None,
    n_jobs: int | None = None,
    keep_zero_peak: bool = False,
    checkpoint: Checkpoint | None = None,
    progress: Progress = silent,
) -> Factors:
    """Factorise a spectrum image by Poisson NMF, and choose among equally good answers.

    Parameters
    ----------
    si : SpectrumImage
        The counts; or a HyperSpy signal of them. The zero peak of an X-ray map (below 0.2 keV)
        is cropped first. What stands far out of it (a bright pixel, a spike, a bad channel), or
        makes a component that lives in one pixel, is left out.
    n_components : int
        Number of components.
    random_state : int
        Seed.
    n_init, tol, max_iter
        See :class:`siftem.PoissonNMF`.
    identify : bool
        Choose among the factorisations that fit equally well, by the pixels that hold
        matrix alone and by the lines that a grain lacks: see `siftem.decomposition.identify`.
        X-ray spectra are then as smooth as the detector makes them
        (`siftem.decomposition.detector_shapes`). With four components or more, several starts
        are compared: see `siftem.decomposition.chosen_spectra`. False gives the plain maximum
        of the likelihood.
    layout : {"auto", "matrix", "side by side", "particles on a support"}
        How the phases lie, for `identify`; "auto" finds it: see `siftem.decomposition.layout`.
    basis : ndarray of shape (channels, p), optional
        Shapes that all spectra are made of, on the cropped axis: see
        `siftem.decomposition.detector_shapes`. The spectra that were found are fitted by it, which
        takes most of the noise away.
    n_jobs : int, optional
        Threads; None means all processors.
    keep_zero_peak : bool
        Do not crop.
    checkpoint : Checkpoint, optional
        A `siftem.FitCheckpoint`: a killed fit then goes on where it was.
    progress : Progress
        Called as ``progress("decompose", fraction)``.

    Returns
    -------
    Factors
        In falling order of counts, named A, E, G, J, ...

    Raises
    ------
    InputError
        When there are more components than the map has pixels or channels, or no counts.

    Warns
    -----
    SiftemWarning
        When the numbers were brought back to counts, or something was left out.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> factors = siftem.decompose(si, n_components=3)
    >>> factors.names, factors.maps.shape
    (('A', 'E', 'G'), (3, 32, 32))
    """
    si = as_map(si)
    if not keep_zero_peak:
        si = si.without_zero_peak()
    si = checked_counts(si)
    if isinstance(n_components, bool) or int(n_components) != n_components or n_components < 1:
        raise InputError(f"the number of phases must be a positive integer, got {n_components!r}")
    if n_components > min(si.n_pixels, si.n_channels):
        raise InputError(
            f"{n_components} phases cannot be told apart in {si.n_pixels} pixels and "
            f"{si.n_channels} channels: ask for fewer"
        )
    if si.counts.nnz == 0:
        raise InputError("the map holds no counts in the chosen energy range: nothing to decompose")
    for _ in range(_TRIES):
        found = _decomposed(
            si,
            n_components,
            random_state=random_state,
            n_init=n_init,
            tol=tol,
            max_iter=max_iter,
            identify=identify,
            layout=layout,
            basis=basis,
            n_jobs=n_jobs,
            checkpoint=checkpoint,
            progress=progress,
        )
        alone = lone_pixels(found.maps) if sp.issparse(si.counts) else np.zeros(0, int)
        if not alone.size:
            break
        si, note = left_out(si, alone)
        warnings.warn(note, SiftemWarning, stacklevel=2)
    return found


def _decomposed(
    si: SpectrumImage,
    n_components: int,
    *,
    random_state: int,
    n_init: int,
    tol: float,
    max_iter: int,
    identify: bool,
    layout: str,
    basis: np.ndarray | None,
    n_jobs: int | None,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> Factors:
    model = PoissonFit(
        n_components,
        n_init=n_init,
        map_shape=si.shape,
        max_iter=max_iter,
        tol=tol,
        random_state=random_state,
        n_jobs=n_jobs,
        checkpoint=checkpoint,
        progress=progress,
    )
    found = None
    if identify and n_components > 1:
        found = choose_spectra(si, model, layout=layout, n_jobs=n_jobs)
        model.map_shape = si.shape
    rows = solver_rows(si.counts, n_jobs=n_jobs)
    if found is None:
        weights = model.fit_weights(si.counts)
        spectra, deviance = model.components_, model.deviance_
        n_iter, converged = model.n_iter_, model.converged_
    else:
        n_iter, converged = found.n_iter, found.converged
        spectra = found.spectra
        weights = even_weights(rows, n_components, np.dtype(float))
        solve_weights(rows, spectra, weights)
    if basis is not None:
        free = poisson_objective(rows, weights, spectra)
        spectra = fitted_by(basis, spectra, weights.sum(axis=0))
        solve_weights(rows, spectra, weights)
        # Free channels fit noise, which is worth about one half for each of them.
        lost = (poisson_objective(rows, weights, spectra) - free) / (0.5 * spectra.size)
        if lost > _POOR_FIT:
            warnings.warn(
                f"the basis fits the spectra poorly (deviance {lost:.1f} a channel above "
                f"that without it): check its elements, the energy calibration and the "
                f"detector, or leave basis out",
                DoubtWarning,
                stacklevel=2,
            )
    if found is not None or basis is not None:
        deviance = 2 * (poisson_objective(rows, weights, spectra) - rows.saturated)
    order = np.argsort(-weights.sum(axis=0), kind="stable")
    indeterminacy = shear_freedom(si.counts, si.shape, spectra[order])
    return Factors(
        maps=rows.maps(weights, order).reshape(n_components, *si.shape),
        spectra=spectra[order].astype(np.float64),
        axis=si.axis,
        names=tuple(component_name(i) for i in range(n_components)),
        deviance=deviance,
        n_iter=n_iter,
        converged=converged,
        matrix=None
        if found is None or found.matrix is None
        else int(np.flatnonzero(order == found.matrix)[0]),
        indeterminacy=indeterminacy,
        pooled_pixels=None if found is None else found.pooled_pixels,
        layout=_layout(si, found, order),
    )


def _layout(
    si: SpectrumImage, found: ChosenSpectra | None, order: np.ndarray
) -> PhaseLayout | None:
    if len(order) == 1:
        return phase_layout(si, 1)
    if found is None or found.layout is None:
        return None
    return found.layout.reordered([int(c) for c in order])


def _total(image: np.ndarray) -> float:
    found = float(image.sum(dtype=np.float64))
    let_go(image)
    return found


#: Letters that are no symbol of an element, nor the D of partitioning.
_LETTERS = "AEGJLMQRTXZ"


def component_name(index: int) -> str:
    """Return A, E, G, ..., Z, A2, E2, ... for 0, 1, ...: none can be taken for an element.

    Phases that are named by their elements keep the letters of their components.
    """
    turn, place = divmod(index, len(_LETTERS))
    return _LETTERS[place] + (str(turn + 1) if turn else "")
