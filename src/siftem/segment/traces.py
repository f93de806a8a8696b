"""Traces without a brush, the most certain pixels of each map; what speaks against painted ones.

NMF may share the matrix' spectrum out among its components, so that a grain's map is far
from zero where the grain is not. The pixels themselves tell: the matrix is everywhere, so
the most common mixing ratio of the components is that of pure matrix. Writing each pixel
as matrix plus grains makes the grain maps scatter around zero in the pure matrix, with
the noise seen below zero, where no grain can be.

A forest that was trained on wrong traces repeats them faithfully: that it classifies its own traces
rightly says nothing of whether they are on the phase that they name. The components do. And where
no class has a stroke, whatever it says is a guess.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import (
    binary_dilation,
    distance_transform_edt,
    gaussian_filter,
    label,
    maximum_filter,
)
from scipy.special import chdtri

from siftem.errors import DoubtWarning, InputError
from siftem.large.disk_images import image_beside, let_go, on_grid, sampled, smoothed, strips
from siftem.robust import grid_step, lower_spread, most_common_ratio
from siftem.views import outline

#: A first smoothing window holds about this many counts.
_COUNTS_IN_WINDOW = 4000.0
#: Noise of a share that smoothing aims at: enough to see a grain of a fifth of the
#: thickness, and no more blur of its border than that.
_NOISE = 0.04
#: Smoothing in pixels, at least and at most.
_SIGMAS = (0.6, 4.0)
#: A rim shows from this many standard deviations on, with twice the smoothing.
_RIM, _RIM_SMOOTHING = 3.0, 2.0
#: ... but no less than this part of the share inside the grain: when millions of counts make
#: the noise vanish, wings of the smoothing and leaks between components would show everywhere.
_RIM_PART = 0.03
#: The matrix component's share of the most common pixels must be at least this.
_LEAST_MATRIX = 0.1
#: A grain is present where its share exceeds the first many standard deviations, and absent below
#: the second, or on the outer slope of a blurred border, ...
_PRESENT, _ABSENT = 5.0, 2.0
#: ... by the share relative to the largest nearby: at least this inside, at most that outside.
_INSIDE, _OUTSIDE = 0.5, 0.3
#: Pixels with fewer counts than this share of the typical one are vacuum or holes.
_VACUUM_SHARE = 0.2
#: The pure matrix fills this many pixels at the least.
_FEWEST_PIXELS = 10


@dataclass(frozen=True, eq=False)
class GrainShares:
    """How much of each grain phase a pixel holds, with the matrix as reference.

    Parameters
    ----------
    shares : ndarray of shape (grains, ny, nx), float32
        Fraction of the pixel's counts, smoothed; scatters around zero in the pure matrix.
    noise : ndarray of shape (grains,)
        Standard deviation of a share in the pure matrix.
    vacuum : ndarray of bool, shape (ny, nx)
        Pixels with too few counts to say anything.
    matrix_ratio : ndarray of shape (k,)
        Mixing ratio of the components in the pure matrix.
    sigmas : ndarray of shape (grains,)
        Smoothing of each grain's share in pixels.
    touched : ndarray of bool, shape (grains, ny, nx)
        Where a grain shows at all (three standard deviations) after stronger smoothing:
        its faint rims, which are in no mask but not pure matrix either.
    """

    __repr__ = outline

    shares: np.ndarray
    noise: np.ndarray
    vacuum: np.ndarray
    matrix_ratio: np.ndarray
    sigmas: np.ndarray
    touched: np.ndarray

    def nearby(self, grain: int) -> int:
        """Side in pixels of the window that is near to a pixel."""
        return 2 * int(np.ceil(2 * self.sigmas[grain] + 1)) + 1


def grain_shares(maps: np.ndarray, matrix: int) -> GrainShares:
    """Express maps as matrix plus grains.

    With ``u`` the mixing ratio of pure matrix, a pixel's weights ``w`` become
    ``w_c - w_matrix u_c / u_matrix`` for each grain component ``c``.

    Parameters
    ----------
    maps : ndarray of shape (k, ny, nx)
        Counts of each component in each pixel.
    matrix : int
        Which component is the matrix.

    Returns
    -------
    GrainShares
        Grains in the order of ``maps`` without the matrix. Each share is smoothed by what brings
        its noise in the pure matrix to 0.04, between 0.6 and 4 pixels.

    Raises
    ------
    InputError
        When the matrix component hardly takes part in the most common pixels.
    """
    maps = np.asarray(maps)
    k, *size = maps.shape
    shape = (int(size[0]), int(size[1]))
    total = image_beside(maps, shape, np.float64)
    for strip in strips(shape, of=(maps, total)):
        total[strip.lines] = maps[:, strip.lines].sum(axis=0, dtype=np.float64)
    some = sampled(total)
    if not some.max() > 0 and not _holds_any(total):
        raise InputError("the maps hold no counts: nothing to trace")
    typical = float(np.median(some[some > 0])) if (some > 0).any() else 1.0
    first = float(np.clip(np.sqrt(_COUNTS_IN_WINDOW / (4 * np.pi * typical)), *_SIGMAS))
    step = grid_step(shape)
    level = image_beside(maps, shape, np.float64)
    for lines, part in smoothed(total.__getitem__, shape, first, of=(total, level)):
        level[lines] = part
    level_seen = sampled(level)
    least = _VACUUM_SHARE * np.quantile(level_seen, 0.75)
    vacuum = image_beside(maps, shape, bool)
    for strip in strips(shape, of=(level, vacuum)):
        vacuum[strip.lines] = level[strip.lines] < least
    del level
    film = ~sampled(vacuum)
    np.maximum(level_seen, 1e-12, out=level_seen)
    ratios = np.empty((k, int(film.sum())))
    for row, one in zip(ratios, maps, strict=True):
        parts = smoothed(_in_double(one), shape, first, of=(maps,))
        smooth = np.concatenate([on_grid(lines, part, step) for lines, part in parts])
        row[:] = (smooth / level_seen)[film]
    grains = [c for c in range(k) if c != matrix]
    point = most_common_ratio(ratios, grains, fewest=_FEWEST_PIXELS)[0]
    del ratios
    point = point / point.sum()
    if point[matrix] < _LEAST_MATRIX:
        raise InputError(
            "the component taken for the matrix is not what most pixels hold: name another "
            "phase as the matrix, mark it by other elements, or paint traces"
        )
    shares = image_beside(maps, (len(grains), *shape), np.float32)
    noise = np.zeros(len(grains))
    sigmas = np.zeros(len(grains))
    touched = image_beside(maps, shares.shape, bool)
    for g, c in enumerate(grains):
        amount = _Amount(maps, total, c, matrix, float(point[c] / point[matrix]))
        # White noise falls as 1 / sigma.
        seen = np.concatenate([on_grid(w, part, step) for w, part in amount.shares(first)])
        before = max(lower_spread(seen[film]), _one_count(typical, first))
        sigmas[g] = np.clip(first * before / _NOISE, *_SIGMAS)
        found = []
        for lines, part in amount.shares(sigmas[g], and_of=(shares, vacuum)):
            part[vacuum[lines]] = 0.0
            shares[g, lines] = part
            found.append(on_grid(lines, part, step))
        noise[g] = max(lower_spread(np.concatenate(found)[film]), _one_count(typical, sigmas[g]))
        strong = image_beside(maps, shape, np.float64)
        for lines, part in amount.shares(_RIM_SMOOTHING * sigmas[g], and_of=(strong,)):
            strong[lines] = part
        seen = sampled(strong)[film]
        spread = max(lower_spread(seen), _one_count(typical, _RIM_SMOOTHING * sigmas[g]))
        shows = max(_RIM * spread, _RIM_PART * float(np.quantile(seen, 0.995)))
        for strip in strips(shape, of=(strong, touched, vacuum)):
            touched[g, strip.lines] = (strong[strip.lines] > shows) & ~vacuum[strip.lines]
        del strong
    return GrainShares(shares, noise, vacuum, point, sigmas, touched)


def _holds_any(image: np.ndarray) -> bool:
    return any(image[s.lines].any() for s in strips(image.shape, of=(image,)))


def _in_double(image: np.ndarray) -> Callable[[slice], np.ndarray]:
    return lambda lines: image[lines].astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Amount:
    """What a grain's component has beyond its part in the matrix, and all counts."""

    maps: np.ndarray
    total: np.ndarray
    grain: int
    matrix: int
    in_matrix: float

    def shares(
        self, sigma: float, and_of: tuple[np.ndarray, ...] = ()
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Smoothed amount over smoothed counts, strip by strip, float64."""
        of = (self.maps, self.total, *and_of)
        shape = self.total.shape
        levels = smoothed(self.total.__getitem__, shape, sigma)
        for (lines, part), (_, level) in zip(
            smoothed(self._part, shape, sigma, of), levels, strict=True
        ):
            np.maximum(level, 1e-12, out=level)
            yield lines, np.divide(part, level, out=level)

    def _part(self, lines: slice) -> np.ndarray:
        matrix = self.maps[self.matrix, lines].astype(np.float64)
        return np.asarray(self.maps[self.grain, lines] - self.in_matrix * matrix)


def _one_count(counts: float, sigma: float) -> float:
    """Share that one count makes in a smoothing window: no noise is less.

    A factorisation sets a grain's map to exactly zero where the grain is not; the spread
    below zero then says nothing.
    """
    return 1.0 / (4 * np.pi * sigma**2 * counts)


def certain_pixels(
    grains: GrainShares,
    *,
    at_most: int = 3000,
    random_state: int = 0,
) -> np.ndarray:
    """Choose pixels that surely hold a grain phase, and pixels that surely don't.

    A border pixel is neither: what is left between the two sets is for the classifier.

    Parameters
    ----------
    grains : GrainShares
    at_most : int
        Pixels of each class at the most, drawn at random.
    random_state : int
        Seed of the draw.

    Returns
    -------
    ndarray of int8, shape (grains, ny, nx)
        For each grain phase: 2 where present, 1 where absent, 0 where not used.

    Warns
    -----
    SiftemWarning
        When a grain phase is present nowhere with that certainty; its best pixels are used.
    """
    rng = np.random.default_rng(random_state)
    out = image_beside(grains.shares, grains.shares.shape, np.int8)
    valid_pixels = grains.vacuum.size - int(np.count_nonzero(grains.vacuum))
    for g in range(len(grains.shares)):
        yes, no = (image_beside(grains.shares, out.shape[1:], bool) for _ in range(2))
        for lines, z, relative in _seen_of(grains, g, and_of=(yes, no)):
            valid = ~grains.vacuum[lines]
            yes[lines] = (z > _PRESENT) & (relative > _INSIDE) & valid
            no[lines] = ((z < _ABSENT) | (relative < _OUTSIDE)) & valid
        if np.count_nonzero(yes) < 10:
            best = _largest(grains, g, min(valid_pixels, max(10, int(0.002 * valid_pixels))))
            warnings.warn(
                f"grain phase {g + 1} exceeds the noise hardly anywhere (most: "
                f"{best[-1]:.1f} sigma): its best pixels serve as traces",
                DoubtWarning,
                stacklevel=2,
            )
            for lines, z, _ in _seen_of(grains, g, and_of=(yes, no)):
                yes[lines] = ~grains.vacuum[lines] & (z >= best[0])
                no[lines] &= ~yes[lines]
        if np.count_nonzero(no) < 10:
            raise InputError(
                f"grain phase {g + 1} seems to be everywhere: no pixel is surely free of it; "
                f"paint traces or choose another matrix"
            )
        for mask, mark in ((no, 1), (yes, 2)):
            _mark_some(mask, at_most, rng, out[g], mark)
        let_go(out, yes, no)
    return out


def _seen_of(
    grains: GrainShares, grain: int, and_of: tuple[np.ndarray, ...] = ()
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield lines, share over noise and share over the largest nearby, strip by strip."""
    shape = grains.vacuum.shape
    margin = grains.nearby(grain) // 2
    for strip in strips(shape, margin, of=(grains.shares, grains.vacuum, *and_of)):
        relative = _relative(grains.shares[grain, strip.seen], grains.nearby(grain))[strip.own]
        yield strip.lines, grains.shares[grain, strip.lines] / grains.noise[grain], relative


def _relative(share: np.ndarray, size: int) -> np.ndarray:
    nearby = maximum_filter(share, size=size)
    np.maximum(nearby, 1e-12, out=nearby)
    return np.asarray(np.divide(share, nearby, out=nearby))


def _largest(grains: GrainShares, grain: int, number: int) -> np.ndarray:
    """Return the largest shares over noise outside the vacuum, rising."""
    best = np.empty(0)
    for strip in strips(grains.vacuum.shape, of=(grains.shares, grains.vacuum)):
        z = grains.shares[grain, strip.lines] / grains.noise[grain]
        best = np.concatenate([best, z[~grains.vacuum[strip.lines]]])
        best = np.sort(best)[-number:]
    return best


def _mark_some(
    mask: np.ndarray, at_most: int, rng: np.random.Generator, out: np.ndarray, label: int
) -> None:
    """Set ``out`` to the label in pixels of a mask, in some drawn at random if they are many."""
    ends = np.count_nonzero(mask, axis=1).cumsum()
    number = int(ends[-1])
    ranks = np.arange(min(number, at_most))
    if number > at_most:
        ranks = np.sort(rng.choice(number, at_most, replace=False))
    of_line = np.searchsorted(ends, ranks, side="right")
    for line in np.unique(of_line):
        inside = np.flatnonzero(mask[line])
        out[line, inside[ranks[of_line == line] - ends[line]]] = label


#: Smoothing of the components in pixels.
_SIGMA = 1.5
#: Painted pixels hold at least this part of what the brightest pixels of their component hold.
_HARDLY = 0.1
#: Another phase's painted pixels hold more of a component by this part of its range.
_MORE = 0.1
#: Fewer painted pixels say nothing.
_FEWEST = 3
#: Pixels of a class are within this probability of it, as Gaussians go.
_WITHIN = 0.9999
#: The covariance of all classes counts as much as this many painted pixels of a class.
_POOLED = 20.0
#: Borders of two classes that the smoothing blurs are no deeper than this, pixels.
_BORDER = 5.5
#: Smaller patches that are unlike the traces are no place to paint.
_SMALLEST_PATCH = 12


def component_shares(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smoothed share of each component, and the smoothed counts.

    Parameters
    ----------
    maps : ndarray of shape (k, ny, nx)
        Counts of each component.

    Returns
    -------
    shares : ndarray of shape (k, ny, nx)
    level : ndarray of shape (ny, nx)
    """
    smooth = np.array([gaussian_filter(m.astype(np.float64), _SIGMA) for m in maps])
    level = smooth.sum(axis=0)
    return smooth / np.maximum(level, 1e-12), level


def contradictions(
    shares: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]
) -> tuple[str, ...]:
    """Say which traces lie where the component that they name is not.

    Parameters
    ----------
    shares : mapping of str to ndarray of shape (ny, nx)
        Of each phase's component, see `component_shares`.
    masks : mapping of str to ndarray of shape (ny, nx), bool
        Painted pixels. Those of several phases say nothing.

    Returns
    -------
    tuple of str
        A sentence for each phase whose traces contradict its component, and for each of their
        strokes that does while the others do not.
    """
    painted = np.sum([m.astype(int) for m in masks.values()], axis=0) if masks else 0
    alone = {n: m & (painted == 1) for n, m in masks.items()}
    alone = {n: m for n, m in alone.items() if n in shares and m.sum() >= _FEWEST}
    said = []
    for name in alone:
        # Of a large map some pixels tell the range as well: labels wait for it at each stroke.
        some = shares[name].ravel()[:: 1 + shares[name].size // 2**17]
        low, high = np.quantile(some, [0.001, 0.999])
        if not high > low:
            continue
        part = {n: float((shares[name][m].mean() - low) / (high - low)) for n, m in alone.items()}
        own = part.pop(name)
        rival = max(part, key=lambda n: part[n]) if part else None
        if own < _HARDLY:
            said.append(
                f"the pixels painted as {name} hold hardly any of its component "
                f"({100 * max(own, 0.0):.0f}% of what its brightest pixels hold): is it painted on "
                f"another phase, or are names exchanged"
            )
            continue
        said += [
            f"of the pixels painted as {name} those about y {y}, x {x} hold hardly any of its "
            f"component ({100 * max(found, 0.0):.0f}% of what its brightest pixels hold): are they "
            f"on another phase"
            for y, x, found in _strokes_off(shares[name], low, high, alone[name])
        ]
        if rival is not None and part[rival] > own + _MORE:
            said.append(
                f"the pixels painted as {rival} hold more of the component {name} than those "
                f"painted as {name}: are names exchanged"
            )
    return tuple(said)


def _strokes_off(
    shares: np.ndarray, low: float, high: float, mask: np.ndarray
) -> list[tuple[int, int, float]]:
    """Return a pixel (y, x) in the midst of each patch that holds hardly any, and what it holds."""
    patches, number = label(mask, np.ones((3, 3)))
    painted, values, own = np.argwhere(mask), shares[mask], patches[mask]
    found = []
    for patch in range(1, number + 1):
        pixels = painted[own == patch]
        held = float((values[own == patch].mean() - low) / (high - low))
        if len(pixels) >= _FEWEST and held < _HARDLY:
            away = ((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1)
            y, x = pixels[away.argmin()]
            found.append((int(y), int(x), held))
    return found


def unlike_painted(
    shares: np.ndarray, level: np.ndarray, masks: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Find the pixels that are like no painted one, in patches large enough to paint on.

    Each class, that of pixels painted as several phases too, is a Gaussian in the shares and the
    counts; its covariance is mixed with that of all classes, so that few strokes do for a start.

    Parameters
    ----------
    shares : ndarray of shape (k, ny, nx)
    level : ndarray of shape (ny, nx)
    masks : mapping of str to ndarray of shape (ny, nx), bool

    Returns
    -------
    ndarray of shape (ny, nx), bool
        Nothing when nothing is painted.
    """
    code = np.zeros(level.shape, np.int64)
    for i, mask in enumerate(masks.values()):
        code |= mask.astype(np.int64) << i
    kinds = [c for c in np.unique(code) if c and (code == c).sum() >= _FEWEST]
    if not kinds:
        return np.zeros(level.shape, bool)
    # The shares add up to one: the last tells nothing new.
    images = np.concatenate([shares[:-1], level[None]]).reshape(len(shares), -1).T
    rows = {c: images[(code == c).ravel()] for c in kinds}
    total = sum(len(r) for r in rows.values())
    pooled = sum((r - r.mean(axis=0)).T @ (r - r.mean(axis=0)) for r in rows.values()) / total
    floor = np.diag(1e-4 * images.var(axis=0) + 1e-12)
    nearest, which = np.full(len(images), np.inf), np.zeros(len(images), np.int64)
    for i, pixels in enumerate(rows.values()):
        away = pixels - pixels.mean(axis=0)
        own = (away.T @ away + _POOLED * pooled) / (len(pixels) + _POOLED) + floor
        # Off the mean in units of the class's own spread, along axes in which it is round.
        off = (images - pixels.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(own)).T
        distance = (off**2).sum(axis=1)
        which[distance < nearest] = i
        nearest = np.minimum(nearest, distance)
    far = (nearest > chdtri(images.shape[1], 1 - _WITHIN)).reshape(level.shape)
    like = np.where(far, -1, which.reshape(level.shape))
    patches, number = label(far)
    beside, deep = np.zeros(number + 1, np.int64), np.zeros(number + 1)
    for i in range(len(rows)):
        grown = binary_dilation(like == i, iterations=2)
        beside += np.bincount(patches[grown], minlength=number + 1) > 0
    np.maximum.at(deep, patches.ravel(), distance_transform_edt(far).ravel())
    # The blurred border of two classes is like neither, but nothing to paint.
    shown = (np.bincount(patches.ravel()) >= _SMALLEST_PATCH) & ((deep > _BORDER) | (beside < 2))
    shown[0] = False
    found: np.ndarray = shown[patches]
    return found


def place_to_paint(unlike: np.ndarray) -> tuple[int, int] | None:
    """Return (y, x) deep inside the largest patch of such pixels; None without one."""
    patches, number = label(unlike)
    if not number:
        return None
    sizes = np.bincount(patches.ravel())
    sizes[0] = 0
    # Padded: the border of the map is no place to paint, however large the patch there.
    depth = distance_transform_edt(np.pad(patches == sizes.argmax(), 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(y), int(x)
