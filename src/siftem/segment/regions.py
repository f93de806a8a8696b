"""Named sets of pixels and their algebra: pure matrix, mixtures, intersections of phases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from siftem.errors import InputError
from siftem.views import outline, view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


#: Pixels of a strip in which borders are measured.
_STRIP = 250_000
#: Distances, pixels, up to which the neighbours of all pixels are looked at one by one.
_NEAR = 6.0


@dataclass(frozen=True, eq=False)
class Region:
    """A named set of pixels; True = included.

    ``a & b``, ``a | b``, ``a - b``, ``a ^ b`` and ``~a`` are the set operations; regions are
    equal when their pixels are, whatever their names. ``np.asarray(region)`` is the mask.

    Parameters
    ----------
    name : str
        For messages, figures and tables.
    mask : ndarray of shape (ny, nx), bool
        True where the pixel belongs to the region. Kept as a read-only copy.
    advice : str
        What to do when the region turns out to be empty; part of the error's sentence.
    """

    name: str
    mask: np.ndarray
    advice: str = field(default="enlarge it or leave it out", repr=False)

    # So that "array & region" is refused instead of making an array of objects.
    __array_ufunc__ = None
    __repr__ = outline

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", frozen_mask(self.mask, f"region {self.name!r}"))

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the map, ``(ny, nx)``."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def n_pixels(self) -> int:
        """Number of pixels in the region."""
        return int(np.count_nonzero(self.mask))

    @property
    def fraction(self) -> float:
        """Share of the map that the region covers, 0 to 1."""
        return self.n_pixels / self.mask.size

    def __bool__(self) -> bool:
        """Whether the region holds any pixel."""
        return bool(self.mask.any())

    def required(self, at_least: int = 1) -> Region:
        """Return the region itself, for use in a sum.

        Raises
        ------
        InputError
            When it holds fewer than ``at_least`` pixels.
        """
        if self.n_pixels < at_least:
            held = "no pixels" if not self else f"{self.n_pixels} pixels, {at_least} are needed"
            raise InputError(f"region {self.name!r} holds {held}: {self.advice}")
        return self

    def renamed(self, name: str) -> Region:
        """Return the same pixels under another name."""
        return Region(name, self.mask, self.advice)

    def eroded(self, n: float) -> Region:
        """Return the pixels more than ``n`` pixels from any outside the region.

        Distances are Euclidean, between pixel centres: ``eroded(1)`` takes away the pixels
        with an outside neighbour above, below, left or right. Beyond the edge of the map
        nothing is outside.
        """
        return Region(f"{self.name} eroded by {n:g}", eroded_mask(self.mask, n), self.advice)

    def dilated(self, n: float) -> Region:
        """Return the pixels at most ``n`` pixels (Euclidean) from any in the region."""
        return Region(f"{self.name} dilated by {n:g}", dilated_mask(self.mask, n), self.advice)

    def __and__(self, other: Any) -> Region:
        return self._combined(other, "&", np.logical_and)

    def __or__(self, other: Any) -> Region:
        return self._combined(other, "|", np.logical_or)

    def __xor__(self, other: Any) -> Region:
        return self._combined(other, "^", np.logical_xor)

    def __sub__(self, other: Any) -> Region:
        return self._combined(other, "-", np.greater)

    def __invert__(self) -> Region:
        return Region(f"~{_bracketed(self.name)}", ~self.mask)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Region):
            return NotImplemented
        return np.array_equal(self.mask, other.mask)

    def __hash__(self) -> int:
        return hash((self.shape, self.mask.tobytes()))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.mask, dtype=dtype, copy=True if copy is None else copy)

    def _combined(self, other: Any, sign: str, operation: Any) -> Region:
        if not isinstance(other, Region):
            return NotImplemented
        if other.shape != self.shape:
            raise InputError(
                f"regions must be of one map, but {self.name!r} is {self.shape} and "
                f"{other.name!r} is {other.shape}"
            )
        name = f"{_bracketed(self.name)} {sign} {_bracketed(other.name)}"
        return Region(name, operation(self.mask, other.mask))


def frozen_mask(mask: Any, what: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a read-only copy of a mask of a map, of the shape if one is given; else refuse it."""
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise InputError(
            f"{what} must be boolean (True = included), got dtype {mask.dtype}: compare it with "
            "a label first"
        )
    if mask.ndim != 2 or mask.size == 0 or (shape is not None and mask.shape != tuple(shape)):
        expected = "(ny, nx)" if shape is None else str(tuple(shape))
        raise InputError(f"{what} must have shape {expected}, got {mask.shape}")
    mask = mask.copy()
    mask.flags.writeable = False
    return mask


def eroded_mask(mask: np.ndarray, n: float) -> np.ndarray:
    """Return the pixels more than ``n`` pixels (Euclidean) from any outside; bool (ny, nx)."""
    if not (np.isfinite(n) and n >= 0):
        raise InputError(f"a distance must be a number of pixels from 0 up, got {n!r}")
    # Without any pixel outside there is no border to keep away from (and no distance).
    if n == 0 or mask.all():
        return mask
    if n <= _NEAR:
        return _eroded_by_shifts(mask, n)
    # Strips that overlap by more than the distance: the transform takes 32 bytes a pixel.
    ny, nx = mask.shape
    reach = int(np.ceil(n)) + 1
    lines = max(_STRIP // nx, reach)
    out = np.empty_like(mask)
    for first in range(0, ny, lines):
        top, last = max(first - reach, 0), min(first + lines, ny)
        seen = mask[top : last + reach]
        own = slice(first - top, last - top)
        out[first:last] = seen[own] if seen.all() else (distance_transform_edt(seen) > n)[own]
    return out


def _eroded_by_shifts(mask: np.ndarray, n: float) -> np.ndarray:
    """As `eroded_mask`, by looking at each pixel within ``n``: sooner than distances of all."""
    out = mask.copy()
    reach = int(n)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if 0 < math.hypot(dy, dx) <= n:
                rows, from_rows = _overlap(dy, mask.shape[0])
                columns, from_columns = _overlap(dx, mask.shape[1])
                out[rows, columns] &= mask[from_rows, from_columns]
    return out


def _overlap(step: int, size: int) -> tuple[slice, slice]:
    """Places along an axis that have a neighbour so many steps further, and these neighbours."""
    first, last = max(0, -step), max(0, size - max(0, step))
    return slice(first, max(first, last)), slice(first + step, max(first, last) + step)


def dilated_mask(mask: np.ndarray, n: float) -> np.ndarray:
    """Return the pixels at most ``n`` pixels (Euclidean) from any inside; bool (ny, nx)."""
    return ~eroded_mask(~mask, n)


def _bracketed(name: str) -> str:
    return f"({name})" if " " in name else name


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of a matrix phase that is everywhere and of grains that overlap in it.

    With M_g the mask of grain g, E the excluded pixels, and ``er`` and ``di`` erosion and
    dilation by the margin,

        pure            = not di(union of all M) - E
        mixture(g)      = er(M_g) - di(union of the other M) - E
        intersection    = (pixels in two masks or more) - E
        intersection_of(a, b) = (M_a and M_b) - E

    so a mixture holds the matrix and one grain only. The pixels within the margin of a
    mask's border, where the phases are blurred, are in neither pure nor mixture.

    Parameters
    ----------
    shape : tuple of int
        Size of the map, ``(ny, nx)``.
    matrix : str
        Name of the matrix phase.
    masks : mapping of str to ndarray of shape (ny, nx), bool
        Where each grain phase is; they may overlap.
    margin : float
        Pixels (Euclidean) to keep away from the borders of masks; not negative.
    excluded : ndarray of shape (ny, nx), bool, optional
        Pixels to leave out of every region: vacuum, damage, the support.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> masks = {"Fp": phantom.mask("Fp"), "Ca-Pv": phantom.mask("Ca-Pv")}
    >>> regions = siftem.Regions(si.shape, matrix="Brg", masks=masks)
    >>> regions.pure.n_pixels + regions.mixture("Fp").n_pixels < si.n_pixels
    True
    >>> list(regions.as_dict())
    ['pure Brg', 'mixture Fp', 'mixture Ca-Pv', 'intersection']
    >>> sum(regions.pixel_counts().values()) == si.n_pixels
    True
    >>> both = regions.intersection_of("Fp", "Ca-Pv").n_pixels
    >>> both == regions.intersection.n_pixels, regions.own("Brg") == regions.pure
    (True, True)
    >>> regions.mask("Fp").n_pixels >= regions.mixture("Fp").n_pixels
    True
    >>> labels = phantom.mask("Fp").astype(int)
    >>> siftem.Regions.from_labels(labels, matrix="Brg", classes={0: "Brg", 1: "Fp"}).names
    ('Fp',)
    >>> "pure Brg" in regions.to_pandas().index
    True
    >>> ax = regions.plot(background=si.total_map())
    """

    shape: tuple[int, int]
    _: KW_ONLY
    matrix: str
    masks: Mapping[str, np.ndarray]
    margin: float = 0.0
    excluded: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 2 or min(shape) < 1:
            raise InputError(f"shape must be (ny, nx) of the map, got {self.shape!r}")
        if not isinstance(self.masks, Mapping):
            raise InputError("masks must be a mapping of grain names to (ny, nx) masks")
        for name in (self.matrix, *self.masks):
            if not isinstance(name, str) or not name:
                raise InputError(f"phases must be named by non-empty text, got {name!r}")
        if self.matrix in self.masks:
            raise InputError(
                f"{self.matrix!r} is the matrix, which is everywhere: give masks of the grains only"
            )
        if not (np.isfinite(self.margin) and self.margin >= 0):
            raise InputError(f"margin must be a number of pixels from 0 up, got {self.margin!r}")
        masks = {
            name: frozen_mask(mask, f"the mask of {name!r}", shape)
            for name, mask in self.masks.items()
        }
        excluded = np.zeros(shape, bool) if self.excluded is None else self.excluded
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "masks", MappingProxyType(masks))
        object.__setattr__(self, "excluded", frozen_mask(excluded, "excluded", shape))

    def __reduce__(self) -> tuple[Any, ...]:
        # Views of mappings can't be pickled, nor copied.
        made = partial(
            Regions, self.shape, matrix=self.matrix, masks=dict(self.masks),
            margin=self.margin, excluded=self.excluded,
        )  # fmt: skip
        return made, ()

    @classmethod
    def from_labels(
        cls,
        labels: np.ndarray,
        *,
        matrix: str,
        classes: Mapping[int, str],
        margin: float = 0.0,
        excluded: np.ndarray | None = None,
    ) -> Regions:
        """Make regions from one label a pixel, so that grains do not overlap.

        Parameters
        ----------
        labels : ndarray of shape (ny, nx), integer
            Class of each pixel.
        matrix : str
            Name of the matrix phase, one of ``classes``.
        classes : mapping of int to str
            Phase of each label; several labels may be of one phase.
        margin, excluded
            As for the class; labels of excluded pixels need no name.
        """
        labels = np.asarray(labels)
        if labels.ndim != 2 or labels.dtype.kind not in "iu":
            raise InputError(
                f"labels must be integers of shape (ny, nx), got {labels.dtype} of {labels.shape}"
            )
        if matrix not in classes.values():
            raise InputError(f"classes must name the matrix {matrix!r}: say which label it has")
        used = (
            labels if excluded is None else labels[~frozen_mask(excluded, "excluded", labels.shape)]
        )
        unnamed = sorted(set(np.unique(used).tolist()) - set(classes))
        if unnamed:
            raise InputError(
                f"labels hold {unnamed[0]}, which classes does not name: name its phase or "
                "exclude its pixels"
            )
        grains = dict.fromkeys(name for name in classes.values() if name != matrix)
        masks = {
            grain: np.isin(labels, [label for label, name in classes.items() if name == grain])
            for grain in grains
        }
        return cls(labels.shape, matrix=matrix, masks=masks, margin=margin, excluded=excluded)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the grain phases, in the order given."""
        return tuple(self.masks)

    def mask(self, name: str) -> Region:
        """Return where a grain phase is, as given: no margin, nothing excluded."""
        return Region(name, self.masks[self._known(name)], "paint or label some of its pixels")

    def own(self, name: str, fewest: int = 30) -> Region:
        """Return the pixels of a phase: `pure` of the matrix, the `mixture` of a grain.

        Of a grain with fewer pixels than ``fewest`` in its mixture, all that holds no other
        grain, borders as well.
        """
        if name == self.matrix:
            return self.pure
        region = self.mixture(name)
        if region.n_pixels >= fewest:
            return region
        others = self._union(tuple(n for n in self.names if n != name))
        whole = Region(region.name, self.masks[name] & ~others & ~self._left_out, region.advice)
        return whole if whole.n_pixels > region.n_pixels else region

    @cached_property
    def pure(self) -> Region:
        """Pixels that hold only the matrix, further than the margin from any grain mask."""
        mask = ~dilated_mask(self._union(self.names), self.margin) & ~self._left_out
        return Region(f"pure {self.matrix}", mask, self._advice("the grain masks smaller"))

    def mixture(self, name: str) -> Region:
        """Return the pixels that hold one grain phase and the matrix, and no other grain."""
        others = tuple(other for other in self.names if other != self._known(name))
        mask = (
            eroded_mask(self.masks[name], self.margin)
            & ~dilated_mask(self._union(others), self.margin)
            & ~self._left_out
        )
        return Region(f"mixture {name}", mask, self._advice(f"the mask of {name} larger"))

    @cached_property
    def intersection(self) -> Region:
        """Pixels that hold two grain phases or more."""
        depth = np.zeros(self.shape, dtype=np.int64)
        for mask in self.masks.values():
            depth += mask
        return Region("intersection", (depth >= 2) & ~self._left_out, "the masks do not overlap")

    def intersection_of(self, a: str, b: str) -> Region:
        """Return the pixels that hold both of two grain phases, and maybe others."""
        if self._known(a) == self._known(b):
            raise InputError(f"an intersection needs two different phases, got {a!r} twice")
        mask = self.masks[a] & self.masks[b] & ~self._left_out
        return Region(f"intersection {a} {b}", mask, f"the masks of {a} and {b} do not overlap")

    def as_dict(self) -> dict[str, Region]:
        """Return pure, each mixture, and the intersection, by their names."""
        regions = (self.pure, *(self.mixture(name) for name in self.names), self.intersection)
        return {region.name: region for region in regions}

    def pixel_counts(self) -> dict[str, int]:
        """Return the pixels of each region of `as_dict`, and of none ("left out").

        The regions are disjoint, so the counts sum to the pixels of the map.
        """
        counts = {name: region.n_pixels for name, region in self.as_dict().items()}
        counts["left out"] = self.shape[0] * self.shape[1] - sum(counts.values())
        return counts

    def _repr_html_(self) -> str:
        return str(view("regions_html")(self))

    def plot(
        self,
        ax: Axes | None = None,
        *,
        background: np.ndarray | None = None,
        pixel_size: tuple[float, float] | None = None,
    ) -> Axes:
        """Draw pure matrix, mixtures and intersections in one image.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default new ones.
        background : ndarray of shape (ny, nx), optional
            Shown in grey, such as HAADF or ``si.total_map()``.
        pixel_size : tuple of float, optional
            Height and width of a pixel in nm, for the scale bar.

        Returns
        -------
        matplotlib Axes
        """
        drawn: Axes = view("plot_regions")(self, ax, background=background, pixel_size=pixel_size)
        return drawn

    def to_pandas(self) -> DataFrame:
        """Return the pixels of each region, and of none; index: region.

        Returns
        -------
        pandas.DataFrame
        """
        return view("regions_frame")(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {n}" for name, n in self.pixel_counts().items())
        return f"<Regions {self.shape[0]} x {self.shape[1]} pixels, {counts}>"

    @property
    def _left_out(self) -> np.ndarray:
        assert self.excluded is not None
        return self.excluded

    def _known(self, name: str) -> str:
        if name not in self.masks:
            grains = ", ".join(repr(known) for known in self.names) or "none"
            raise InputError(f"there is no grain phase {name!r}: the grains are {grains}")
        return name

    def _union(self, names: tuple[str, ...]) -> np.ndarray:
        union = np.zeros(self.shape, dtype=bool)
        for name in names:
            union |= self.masks[name]
        return union

    def _advice(self, change: str) -> str:
        smaller = f"lower the margin (now {self.margin:g} pixels), " if self.margin > 0 else ""
        return f"{smaller}make {change} or exclude fewer pixels"
