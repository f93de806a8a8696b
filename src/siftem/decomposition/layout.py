"""How the phases of a map lie: found from the pixels, before anything is assumed.

Pixels are sorted into classes (`siftem.decomposition.pixel_classes`). Three things then tell how a
class lies. *Where it lies*: a class of patches that another one surrounds may be embedded in it
above and below as well, and nothing in the counts can exclude that; layers that cross the map and
aggregates, in which each grain has several neighbours, are not embedded. *How even it is*: shares
that scatter by more than counting noise inside the class show mixing ratios that differ from pixel
to pixel. *How bright it is*: what is dim and surrounds the rest is vacuum, or a support that the
rest lies on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.optimize import nnls

from siftem.decomposition.evenness import deep, deficit, distance_inside, unevenness
from siftem.decomposition.initialise import pooled_squares
from siftem.decomposition.mistaken import mistaken_labels
from siftem.decomposition.pixel_classes import (
    PixelClasses,
    labels_by,
    pixel_classes,
    without_texture,
)
from siftem.decomposition.purest import FEWEST_PIXELS, class_spectra, purest_spectra, share_weights
from siftem.decomposition.rank import count_kinds
from siftem.decomposition.support import (
    Below,
    find_support,
    flanks,
    hosts_of,
    is_dim,
    thin_parts,
    without,
)
from siftem.printed_numbers import in_words
from siftem.spectrum_image import SpectrumImage
from siftem.views import outline

#: Kinds of layout, as they are named in recipes.
KINDS = ("matrix", "side by side", "particles on a support", "nested", "single")
#: The purest pixels of an uneven class hold more of it than the typical one, by this part.
_RISE = 0.1
#: Below this part of the brightest class' counts a class is vacuum.
_VACUUM = 0.01
#: Pixels darker than this part of the bright ones of their class are holes and edges.
_HOLE, _BRIGHT = 0.2, 0.95
#: A class is the blurred border of two others when hardly any of its pixels lies inside, and its
#: spectrum between theirs: off the line by no more than this part of their distance.
_RIM_INSIDE, _RIM_MISFIT = 0.35, 0.1
#: A border between two classes has this part of its own border with the lesser one; classes that
#: make up less than the second number of what surrounds it have no part in it.
_BETWEEN, _BESIDE = 0.15, 0.05
#: What has less than this part of the counts of what is around it does not lie on it.
_DARKER = 0.8
#: Labels of pixels that belong to no phase.
VACUUM, MIXED = -1, -2
#: Classes that show less of a way in which spectra differ have missed a phase.
_EXPLAINED = 0.7
#: More classes than phases that are tried, since a blurred border may take one for itself.
_MORE_CLASSES = 3
#: Pixels beyond which neighbours are pooled, whether counts stay on disk or not.
MOST_PIXELS = 60_000
#: A class with no more than this part of its pixels away from others is thin.
_KNOTS = 0.1
#: Labels of halves that differ from those of all counts in more than this part are chance.
_BY_CHANCE = 0.4
_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Lies:
    """How one phase lies.

    Parameters
    ----------
    role : {"pure", "embedded", "uneven", "support", "vacuum"}
        Pure: its own pixels hold nothing else. Embedded: another phase surrounds it, and may lie
        above and below it. Uneven: its share differs from pixel to pixel. Support: what the others
        lie on. Vacuum: next to no counts.
    hosts : tuple of int
        Phases that its pixels may hold as well, the nearest first.
    unevenness : float
        Standard deviation of its share inside its pixels, counting noise taken off.
    area : float
        Share of the map's pixels.
    counts_per_pixel : float
        Mean.
    even : bool
        False when its share surely differs from pixel to pixel.
    below : Below, optional
        How much of its outermost host, a film, is below it. A pure phase has one where a film
        may go on below it and nothing tells.
    told : bool
        Whether the user says how it lies: what is pure is so, however thin, and what fills its film
        in part does so whatever its labels are worth.
    perhaps : tuple of int
        Phases whose elements it holds in their ratios, as if they went on evenly above or below it.
    """

    role: str
    hosts: tuple[int, ...]
    unevenness: float
    area: float
    counts_per_pixel: float
    even: bool = True
    below: Below | None = None
    told: bool = False
    perhaps: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class PhaseLayout:
    """How the phases of a map lie.

    Parameters
    ----------
    kind : str
        One of `KINDS`, or "mixed".
    phases : tuple of Lies
    labels : ndarray of int64, shape (ny, nx)
        Phase of each pixel; `VACUUM` (-1) or `MIXED` (-2), the blurred border of two phases.
    mistaken : ndarray of float64, shape (phases, phases), optional
        Row i: share of the pixels inside phase i that may be of phase j, since few counts do not
        tell them apart; see `siftem.decomposition.mistaken`.
    by_noise : ndarray of float64, shape (phases, phases), optional
        The same, as far as noise would mistake pixels that have the spectra of their phases.
    """

    __repr__ = outline

    kind: str
    phases: tuple[Lies, ...]
    labels: np.ndarray
    mistaken: np.ndarray | None = None
    by_noise: np.ndarray | None = None

    @property
    def overlapping(self) -> bool:
        """Whether grains of a matrix fill its film in part, so that shares make their masks."""
        return self.kind == "matrix" and not all(
            lies.even for lies in self.phases if lies.role == "embedded"
        )

    @property
    def surely_overlapping(self) -> bool:
        """The same, beyond what labels that noise mistakes make of even phases.

        Labels may be wrong by what either half of the counts says; one half alone says half of
        that. Where halves give pixels away nearly as by the toss of a coin they tell nothing,
        least of all that a phase is even.
        """
        if self.by_noise is None or not self.overlapping:
            return self.overlapping
        wrong = self.by_noise.sum(axis=1) / 2
        scatter = np.where(wrong > _BY_CHANCE, 0.0, np.sqrt((wrong * (1 - wrong)).clip(0.0)))
        return any(
            lies.role == "embedded" and not lies.even and (lies.told or lies.unevenness > s)
            for lies, s in zip(self.phases, scatter, strict=True)
        )

    @property
    def background(self) -> int | None:
        """The class that the others lie in or on: the host of most of the area, if any."""
        area: dict[int, float] = {}
        for lies in self.phases:
            if lies.role == "embedded":
                area[lies.hosts[-1]] = area.get(lies.hosts[-1], 0.0) + lies.area
        return max(area, key=lambda c: area[c]) if area else None

    def inside(self, c: int, margin: float = 1.0) -> np.ndarray:
        """Pixels of a class farther than ``margin`` from others, fewer where none are left."""
        own = self.labels == c
        deep = own & (distance_inside(own) > margin)
        return deep if deep.sum() >= FEWEST_PIXELS else own

    def is_thin(self, c: int) -> bool:
        """Whether the pixels of a class touch others, but for knots: hardly any is surely pure."""
        if self.phases[c].told:
            return False
        near = binary_dilation((self.labels != c) & (self.labels != VACUUM), _EIGHT)
        own = self.labels == c
        return bool(own.any() and near[own].mean() > 1 - _KNOTS)

    @property
    def insides(self) -> list[np.ndarray]:
        """Pixels of each phase away from its border, bool (ny, nx)."""
        return [
            self.labels == VACUUM if lies.role == "vacuum" else self.inside(c)
            for c, lies in enumerate(self.phases)
        ]

    def reordered(self, order: Sequence[int]) -> PhaseLayout:
        """Return the phases in another order; ``order[i]`` is the one that becomes i."""
        place = {c: i for i, c in enumerate(order)}.__getitem__
        # The labels of no phase are indices from the end.
        table = np.array([place(c) for c in range(len(order))] + [MIXED, VACUUM])
        phases = tuple(
            replace(p, hosts=tuple(map(place, p.hosts)), perhaps=tuple(map(place, p.perhaps)))
            for p in (self.phases[c] for c in order)
        )
        mistaken, by_noise = (
            None if shares is None else shares[np.ix_(order, order)]
            for shares in (self.mistaken, self.by_noise)
        )
        return replace(
            self,
            phases=phases,
            labels=table[self.labels],
            mistaken=mistaken,
            by_noise=by_noise,
        )

    def sentence(self, names: Sequence[str]) -> str:
        """Say the layout in one sentence."""
        if self.kind == "single":
            return f"a single phase, {names[0]}"
        parts = []
        pure = [c for c, lies in enumerate(self.phases) if lies.role == "pure" and not lies.hosts]
        thin = [names[c] for c in pure if self.is_thin(c)]
        alone = [names[c] for c in pure if names[c] not in thin]
        if len(alone) > 1:
            parts.append(f"{in_words(alone)} are pure in their own pixels")
        for name, lies in zip(names, self.phases, strict=True):
            if name in thin or (name in alone and len(alone) > 1):
                continue
            hosts = " in ".join(names[h] for h in lies.hosts)
            on = "on" if lies.hosts and self.phases[lies.hosts[0]].role == "support" else "in"
            perhaps = f", unless {hosts} goes on below it" if hosts else ""
            parts.append(
                {
                    "pure": f"{name} is pure in its own pixels{perhaps}",
                    "embedded": f"{name} lies {on} {hosts}",
                    "uneven": f"{name} is mixed with {hosts}, nowhere evenly",
                    "support": f"{name} is the support",
                    "vacuum": f"{name} is vacuum",
                }[lies.role]
            )
        if thin:
            are = "is thin, its" if len(thin) == 1 else "are thin, their"
            parts.append(f"{in_words(thin)} {are} pixels touch others: nowhere surely pure")
        for name, lies in zip(names, self.phases, strict=True):
            above = [names[h] for h in lies.perhaps]
            parts += [f"{name} may have {in_words(above)} evenly above it"] if above else []
        return f"{self.kind}: " + "; ".join(parts)


def single_layout(shape: tuple[int, int], counts_per_pixel: float) -> PhaseLayout:
    """Return the layout of a map with one phase."""
    one = Lies("pure", (), 0.0, 1.0, counts_per_pixel)
    return PhaseLayout("single", (one,), np.zeros(shape, np.int64))


def phase_layout(si: SpectrumImage, n_phases: int, *, random_state: int = 0) -> PhaseLayout | None:
    """Find how the phases of a map lie.

    Parameters
    ----------
    si : SpectrumImage
        Beyond 60,000 pixels the layout is that of pooled neighbours.
    n_phases : int
    random_state : int
        Seed of `siftem.decomposition.pixel_classes`.

    Returns
    -------
    PhaseLayout or None
        None when the pixels do not fall into as many classes.
    """
    counts, shape = si.counts, si.shape
    if n_phases == 1:
        return single_layout(shape, si.total / si.n_pixels)
    side = int(np.ceil(np.sqrt(si.n_pixels / MOST_PIXELS)))
    counts = pooled_squares(counts, shape, side)
    small = (-(-shape[0] // side), -(-shape[1] // side))
    bulk = si.acquisition.bulk or si.signal_type == "EDS_SEM"
    # Noise of neighbouring energy losses need not be independent.
    layers = None if si.signal_type == "EELS" else count_kinds(si, random_state=random_state).layers
    best, explained = None, -np.inf
    for n_classes in range(n_phases, min(n_phases + _MORE_CLASSES, si.n_pixels) + 1):
        classes = pixel_classes(
            counts, small, n_classes, n_phases=n_phases, layers=layers, random_state=random_state
        )
        if si.signal_type.startswith("EDS"):
            classes = without_texture(counts, small, classes, bulk=bulk)
        found = find_layout(counts, small, classes, bulk=bulk)
        if len(found.phases) == n_phases and classes.explained > explained:
            best, explained = found, classes.explained
        if explained > _EXPLAINED:
            break
    if best is None:
        return None
    mistaken, by_noise = mistaken_labels(
        counts, best.labels, n_phases, layers=layers, random_state=random_state
    )
    best = replace(best, mistaken=mistaken, by_noise=by_noise)
    return best if side == 1 else _in_full(best, counts, si, side)


def _in_full(
    pooled: PhaseLayout, counts: sp.csr_array, si: SpectrumImage, side: int
) -> PhaseLayout:
    """Label each pixel of a large map by the spectra of the classes of its pooled one."""
    k = len(pooled.phases)
    spectra = class_spectra(counts, pooled.labels, k)
    fine = labels_by(si.counts, si.shape, spectra)
    rows, columns = (np.arange(n) // side for n in si.shape)
    empty = (pooled.labels == VACUUM)[np.ix_(rows, columns)]
    return replace(pooled, labels=np.where(empty, VACUUM, fine))


def find_layout(
    counts: sp.csr_array, shape: tuple[int, int], classes: PixelClasses, *, bulk: bool = False
) -> PhaseLayout:
    """Find how classes of pixels lie.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
    shape : tuple of int
        (ny, nx).
    classes : PixelClasses
    bulk : bool
        A bulk specimen, in which no phase lies above another one.

    Returns
    -------
    PhaseLayout
        Of the classes that are no blurred border.
    """
    k = classes.n_classes
    total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel().reshape(shape)
    if k == 1:
        return single_layout(shape, float(total.mean()))
    labels = np.array(classes.labels)
    smooth = gaussian_filter(total, 1.0)
    # Empty pixels belong to the class of their neighbours; they don't count for its brightness.
    bright = np.array([np.quantile(smooth[labels == c], _BRIGHT) for c in range(k)])
    holes = smooth < _HOLE * bright[labels]
    level = np.array([total[(labels == c) & ~holes].mean() for c in range(k)])
    vacuum_class = level < _VACUUM * level.max()
    spectra = purest_spectra(counts, labels, k)
    weights = share_weights(counts, spectra).reshape(k, *shape)
    rims = [() if vacuum_class[c] else _parents(spectra, labels, c) for c in range(k)]
    skipped = {c for c in range(k) if rims[c] or vacuum_class[c]}
    gone = np.isin(labels, [c for c in range(k) if rims[c]]) | thin_parts(labels, weights, total)
    # Holes surround as well, but are no hosts.
    around = hosts_of(np.where(holes, k, without(labels, gone)), k + 1)
    within = [tuple(h for h in chain if h < k and h not in skipped) for chain in around[:k]]
    is_host = {chain[0] for chain in within if chain}
    phases: list[Lies] = []
    even = [unevenness(weights, total, (labels == c) & ~holes, c) for c in range(k)]
    for c in range(k):
        own, partner = labels == c, even[c].partner
        sure = even[c].sure
        if sure and partner is not None and k > 2:
            # Of spectra that lie on one line, shares of all at once tell nothing.
            pair = share_weights(counts, spectra[[c, partner]]).reshape(2, *shape)
            sure = unevenness(pair, total, own & ~holes, 0).sure
        role, hosts = "pure", tuple[int, ...]()
        if vacuum_class[c]:
            role = "vacuum"
        elif bulk or rims[c]:
            pass
        elif within[c]:
            role, hosts = "embedded", within[c]
        elif (
            sure
            and c not in is_host
            and partner is not None
            and partner not in skipped
            # Pixels of a border make few of a class uneven, a gradient most of them.
            and deficit(counts, deep(own & ~holes), spectra, c)[0] > _RISE
        ):
            role, hosts = "uneven", (partner,)
        area = float((own & ~holes).mean())
        phases.append(Lies(role, hosts, even[c].value, area, float(level[c]), not sure))
    for c, d in combinations([c for c in range(k) if c not in skipped | is_host and not bulk], 2):
        # Few counts may not tell it of either, yet of both together.
        if (
            {phases[c].role, phases[d].role} <= {"pure", "uneven"}
            and (even[c].partner, even[d].partner) == (d, c)
            and even[c].sure_with(even[d])
            and all(
                deficit(counts, deep((labels == e) & ~holes), spectra, e)[1] > _RISE for e in (c, d)
            )
        ):
            phases[c] = replace(phases[c], role="uneven", hosts=(d,))
            phases[d] = replace(phases[d], role="uneven", hosts=(c,))
    if not bulk:
        phases, labels = _with_support(phases, labels, level, rims, around[:k], counts)
    kept = [c for c in range(k) if not rims[c]]
    table = np.full(k, MIXED)
    table[kept] = np.arange(len(kept))
    table[vacuum_class] = VACUUM
    labels = np.where(holes, VACUUM, table[labels])
    phases = [replace(phases[c], hosts=tuple(kept.index(h) for h in phases[c].hosts)) for c in kept]
    islands = {kept.index(c) for c in kept if around[c]}
    return PhaseLayout(kind_of(phases, islands), tuple(phases), labels)


def _parents(spectra: np.ndarray, labels: np.ndarray, c: int) -> tuple[int, ...]:
    """The two classes of which a class is the blurred border; empty for any other class.

    A border that runs along several classes is a mixture of all of them: its parents are those of
    which it holds most.
    """
    own = labels == c
    if (distance_inside(own) > 1.5)[own].mean() > _RIM_INSIDE:
        return ()
    around = np.bincount(labels[binary_dilation(own, _EIGHT) & ~own], minlength=len(spectra))
    beside = np.flatnonzero(around > _BESIDE * around.sum())
    if beside.size < 2:
        return ()
    order = beside[np.argsort(-around[beside], kind="stable")]
    pair = order[:2] if around[order[1]] > _BETWEEN * around.sum() else order
    for some in (pair, order):
        amounts, _ = nnls(spectra[some].T, spectra[c])
        first, second = np.argsort(-amounts, kind="stable")[:2]
        if amounts[second] < 0.05:
            continue
        left = np.linalg.norm(spectra[c] - spectra[some].T @ amounts)
        apart = np.linalg.norm(spectra[some[first]] - spectra[some[second]])
        if left < _RIM_MISFIT * apart:
            return (int(some[first]), int(some[second]))
    return ()


def _with_support(
    phases: Sequence[Lies],
    labels: np.ndarray,
    level: np.ndarray,
    rims: Sequence[tuple[int, ...]],
    around: Sequence[tuple[int, ...]],
    counts: sp.csr_array,
) -> tuple[list[Lies], np.ndarray]:
    """Lay phases on a dim film that goes on below them, or may; their thin flanks are theirs."""
    out = list(phases)
    surrounding = []
    for c in range(len(out)):
        guests = [g for g, lies in enumerate(out) if lies.role == "embedded" and c in lies.hosts]
        if guests and not around[c] and all(is_dim(level[c], level[g]) for g in guests):
            surrounding.append(c)
    useful = [
        0.0 if rims[c] or lies.role == "vacuum" else float(level[c]) for c, lies in enumerate(out)
    ]
    for c in range(len(out)):
        # What lies on a film is not darker than the film: these lie in its place.
        guests = [g for g, lies in enumerate(out) if lies.role == "embedded" and c in lies.hosts]
        if any(_HOLE * level[c] < level[g] < _DARKER * level[c] for g in guests):
            useful[c] = 0.0
    filled = flanks(labels, rims, level.tolist())
    found = find_support(counts, filled, useful, surrounding)
    if found is None:
        return out, labels
    film, below, sure = found
    for g, amount in below.items():
        inner = tuple(h for h in out[g].hosts if h != film and useful[h] > 0)
        if sure:
            out[g] = replace(out[g], role="embedded", hosts=(*inner, film), below=amount)
        elif out[g].role == "pure":
            out[g] = replace(out[g], hosts=(film,), below=amount)
    if not sure:
        return out, labels
    for g, lies in enumerate(out):
        if g not in below and film in lies.hosts:  # it is measured that there is none
            hosts = tuple(h for h in lies.hosts if h != film)
            out[g] = replace(lies, role="embedded" if hosts else "pure", hosts=hosts)
    out[film] = replace(out[film], role="support", hosts=())
    return out, filled


def kind_of(phases: Sequence[Lies], islands: Collection[int]) -> str:
    """Name a layout; ``islands`` are phases that others surround."""
    some = [lies for lies in phases if lies.role != "vacuum"]
    if len(some) == 1:
        return "single"
    roles = [lies.role for lies in some]
    hosts = {h for lies in some for h in lies.hosts if lies.role == "embedded"}
    if any(len(lies.hosts) > 1 for lies in some) or hosts & set(islands):
        return "nested"
    if "support" in roles:
        return "particles on a support"
    if all(role == "pure" for role in roles):
        return "side by side"
    if len(hosts) == 1:
        host = next(iter(hosts))
        if all(lies.role == "embedded" or lies is phases[host] for lies in some):
            return "matrix"
    return "mixed"
