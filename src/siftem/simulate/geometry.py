"""Grains as convex bodies in a slab, seen along the beam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from siftem.errors import InputError

#: Chords that are computed at a time, to bound the memory.
_CHORDS = 2_000_000


@dataclass(frozen=True, eq=False)
class Polyhedron:
    """A convex body bounded by planes: ``normal . (r - centre) <= distance``.

    Lengths are in pixels across and in slab thicknesses along the beam (z from 0 to 1).

    Parameters
    ----------
    centre : ndarray of shape (3,)
        y, x, z.
    normals : ndarray of shape (faces, 3)
    distances : ndarray of shape (faces,)
    """

    centre: np.ndarray
    normals: np.ndarray
    distances: np.ndarray

    def chord(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where lines along z at (y, x) enter and leave; enter >= leave is a miss."""
        enter = np.full(y.shape, -np.inf)
        leave = np.full(y.shape, np.inf)
        for (ny, nx, nz), distance in zip(self.normals, self.distances, strict=True):
            room = distance - ny * (y - self.centre[0]) - nx * (x - self.centre[1])
            if nz > 0:
                leave = np.minimum(leave, self.centre[2] + room / nz)
            elif nz < 0:
                enter = np.maximum(enter, self.centre[2] + room / nz)
            else:
                leave = np.where(room < 0, -np.inf, leave)
        return enter, leave


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid, long ones being needles: ``|shape (r - centre)| <= 1``.

    Parameters
    ----------
    centre : ndarray of shape (3,)
        y, x in pixels, z in slab thicknesses.
    shape : ndarray of shape (3, 3)
        Maps the body to the unit ball.
    """

    centre: np.ndarray
    shape: np.ndarray

    def chord(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where lines along z at (y, x) enter and leave; enter >= leave is a miss."""
        across = (
            self.shape[:, 0, None] * (y - self.centre[0]).ravel()
            + self.shape[:, 1, None] * (x - self.centre[1]).ravel()
        )
        along = self.shape[:, 2]
        a = along @ along
        b = along @ across
        c = (across**2).sum(axis=0) - 1
        root = np.sqrt(np.maximum(b**2 - a * c, 0))
        hit = b**2 > a * c
        enter = np.where(hit, self.centre[2] + (-b - root) / a, np.inf)
        leave = np.where(hit, self.centre[2] + (-b + root) / a, -np.inf)
        return enter.reshape(y.shape), leave.reshape(y.shape)


Body = Polyhedron | Ellipsoid


def block(
    rng: np.random.Generator, centre: Sequence[float], radius: float, height: float
) -> Polyhedron:
    """Draw a block with five to seven bevelled sides and two slightly tilted caps.

    Parameters
    ----------
    rng : numpy.random.Generator
    centre : sequence of float
        y, x in pixels, z in slab thicknesses.
    radius : float
        Half the width, in pixels.
    height : float
        The longest way through the block along the beam, in slab thicknesses.
    """
    sides = int(rng.integers(5, 8))
    angles = 2 * np.pi * (np.arange(sides) + rng.uniform(-0.3, 0.3, sides)) / sides
    angles += rng.uniform(0, 2 * np.pi)
    lean = rng.uniform(-0.35, 0.35, sides) * radius / max(height, 1e-6)
    normals = [np.array([np.sin(a), np.cos(a), s]) for a, s in zip(angles, lean, strict=True)]
    distances = list(radius * rng.uniform(0.75, 1.1, sides))
    for sign in (1.0, -1.0):
        tilt = rng.uniform(-0.25, 0.25, 2) * height / radius
        normals.append(np.array([tilt[0], tilt[1], sign]))
        distances.append(height / 2)
    faces, room = np.array(normals), np.array(distances)
    # Caps that converge make it taller at one edge: squeeze it to the height asked for.
    faces[:, 2] *= _longest_chord(faces, room) / height
    return Polyhedron(np.asarray(centre, float), faces, room)


def _longest_chord(normals: np.ndarray, distances: np.ndarray) -> float:
    """Greatest z2 - z1 with (y, x, z1) and (y, x, z2) in the body: a linear programme."""
    across, along = normals[:, :2], normals[:, 2:]
    none = np.zeros_like(along)
    both = np.vstack([np.hstack([across, along, none]), np.hstack([across, none, along])])
    best = linprog([0, 0, 1, -1], A_ub=both, b_ub=np.tile(distances, 2), bounds=(None, None))
    return -float(best.fun)


def needle(
    rng: np.random.Generator,
    centre: Sequence[float],
    length: float,
    width: float,
    height: float,
) -> Ellipsoid:
    """Draw a needle or lens, turned at random in the plane and tilted a little out of it.

    Parameters
    ----------
    rng : numpy.random.Generator
    centre : sequence of float
        y, x in pixels, z in slab thicknesses.
    length, width : float
        Full axes in the plane, in pixels.
    height : float
        Full axis along the beam, in slab thicknesses.
    """
    turn = rng.uniform(0, np.pi)
    c, s = np.cos(turn), np.sin(turn)
    axes = np.diag([2 / length, 2 / width, 2 / height])
    in_plane = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]])
    tilt = np.eye(3)
    tilt[2, 0] = rng.uniform(-0.4, 0.4) * height / length
    return Ellipsoid(np.asarray(centre, float), axes @ tilt @ in_plane)


def thickness_fractions(
    shape: tuple[int, int], phases: Sequence[Sequence[Body]], *, subpixels: int = 2
) -> np.ndarray:
    """Share of the slab's thickness that each grain phase fills in each pixel.

    Along each line parallel to the beam a body is one interval, so a phase gets exactly the
    length that it adds to the union of its own and all earlier intervals: where bodies meet,
    the earlier phase wins, and the shares sum to at most one; the matrix is the rest. Edges
    are averaged over sub-pixels.

    Parameters
    ----------
    shape : tuple of int
        Map size (ny, nx).
    phases : sequence of sequences of bodies
        For each grain phase, the first taking precedence.
    subpixels : int
        Sub-pixels on each side of a pixel, at least 1.

    Returns
    -------
    ndarray of shape (phases, ny, nx), float64
        Between 0 and 1; a phase without bodies gives zeros.
    """
    ny, nx = shape
    step = (np.arange(subpixels) + 0.5) / subpixels - 0.5
    columns = (np.arange(nx)[:, None] + step).ravel()
    n_bodies = sum(len(bodies) for bodies in phases)
    rows_at_once = max(1, int(_CHORDS / (max(n_bodies, 1) * columns.size * subpixels)))
    out = np.zeros((len(phases), ny, nx))
    for first in range(0, ny, rows_at_once):
        last = min(first + rows_at_once, ny)
        rows = (np.arange(first, last)[:, None] + step).ravel()
        y, x = np.meshgrid(rows, columns, indexing="ij")
        enter, leave = np.ones((2, n_bodies, *y.shape))
        done, filled = 0, np.zeros(y.shape)
        for p, bodies in enumerate(phases):
            for body in bodies:
                # Clipped to the slab; a miss keeps leave <= enter and has no length.
                enter[done], leave[done] = (np.clip(z, 0.0, 1.0) for z in body.chord(y, x))
                done += 1
            union = _union_length(enter[:done], leave[:done])
            share = np.maximum(union - filled, 0.0)
            filled = union
            share = share.reshape(last - first, subpixels, nx, subpixels)
            out[p, first:last] = share.mean(axis=(1, 3))
    return out


def _union_length(enter: np.ndarray, leave: np.ndarray) -> np.ndarray:
    """Length of the union of intervals in [0, 1]; (bodies, ny, nx) -> (ny, nx)."""
    if enter.shape[0] == 0:
        return np.zeros(enter.shape[1:])
    order = np.argsort(enter, axis=0, kind="stable")
    enter = np.take_along_axis(enter, order, axis=0)
    leave = np.take_along_axis(leave, order, axis=0)
    reached = np.zeros_like(leave)
    np.maximum.accumulate(leave[:-1], axis=0, out=reached[1:])
    return np.maximum(leave - np.maximum(enter, reached), 0.0).sum(axis=0)


def scatter_blocks(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    coverage: float,
    most: float,
    size: float = 0.13,
) -> list[Body]:
    """Draw blocks until they cover at least a share of the map.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    coverage : float
        Share of the pixels whose centre has a body in its line of sight.
    most : float
        Largest height, as a share of the slab's thickness.
    size : float
        Typical half width as a share of the map's side (the root of its area).
    """

    def draw(side: float) -> Body:
        radius = side * size * rng.uniform(0.75, 1.35)
        height = most * rng.uniform(0.6, 1.0)
        return block(rng, _centre(rng, shape, height), radius, height)

    return _scatter(shape, coverage, draw)


def scatter_needles(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    coverage: float,
    most: float,
    size: float = 0.2,
) -> list[Body]:
    """Draw needles and lenses until they cover at least a share of the map.

    Parameters
    ----------
    rng, shape, coverage, most
        As for :func:`scatter_blocks`.
    size : float
        Typical length as a share of the map's side (the root of its area).
    """

    def draw(side: float) -> Body:
        length = side * size * rng.uniform(0.6, 1.4)
        width = length / rng.uniform(1.8, 4.0)
        height = most * rng.uniform(0.5, 1.0)
        return needle(rng, _centre(rng, shape, height), length, width, height)

    return _scatter(shape, coverage, draw)


def _centre(
    rng: np.random.Generator, shape: tuple[int, int], height: float
) -> tuple[float, float, float]:
    low, high = sorted((height / 2, 1 - height / 2))
    return (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(low, high))


def _scatter(shape: tuple[int, int], coverage: float, draw: Callable[[float], Body]) -> list[Body]:
    if not 0 < coverage < 1:
        raise InputError(f"the coverage of a grain phase must be between 0 and 1, got {coverage}")
    y, x = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    bodies: list[Body] = []
    covered = np.zeros(shape, bool)
    while covered.mean() < coverage:
        body = draw(float(np.sqrt(shape[0] * shape[1])))
        enter, leave = body.chord(y, x)
        covered |= np.minimum(leave, 1) > np.maximum(enter, 0)
        bodies.append(body)
    return bodies
