"""What neighbouring pixels have in common beyond noise, around them and along layers.

Noise is independent from pixel to pixel: products of neighbours, summed over all pairs, have none.
Around a pixel, neighbours in a layer three pixels wide are mostly of other layers; along it, all
are of its own. Thin layers that lie along each other (oxide scales, quantum wells, lamellae) are
therefore seen at a tenth of the counts where neighbours are weighted along them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.signal import fftconvolve

#: Neighbours are counted up to this many standard deviations of their distance.
_FAR_ROUND, _FAR_ALONG = 4.0, 2.5


@dataclass(frozen=True)
class Near:
    """Which pixels are neighbours: a normal distribution of their distance.

    Parameters
    ----------
    across, along : float
        Standard deviations in pixels.
    angle : float
        From the rows of the map towards its columns to the direction of ``along``, degrees.
    """

    across: float
    along: float
    angle: float = 0.0

    @property
    def reach(self) -> int:
        """Pixels to the farthest neighbour."""
        far = _FAR_ROUND if self.along == self.across else _FAR_ALONG
        return int(far * self.along + 0.5)

    def weights(self) -> np.ndarray:
        """Weight of each neighbour, their sum 1; (2 reach + 1, 2 reach + 1)."""
        y, x = np.mgrid[-self.reach : self.reach + 1, -self.reach : self.reach + 1]
        turn = np.deg2rad(self.angle)
        u = x * np.cos(turn) + y * np.sin(turn)
        v = y * np.cos(turn) - x * np.sin(turn)
        out = np.exp(-0.5 * ((u / self.along) ** 2 + (v / self.across) ** 2))
        return np.asarray(out / out.sum())

    def smoothed(self, image: np.ndarray, *, itself: bool = True) -> np.ndarray:
        """Mean over neighbours, a pixel itself among them or not; outside of the map are zeros."""
        weights = self.weights()
        if not itself:
            weights[self.reach, self.reach] = 0.0
            weights /= weights.sum()
        return np.asarray(fftconvolve(image, weights, mode="same"))


#: All around, of fine grains and of large ones.
AROUND = (Near(1.2, 1.2), Near(3.0, 3.0))
#: Along rows and columns, as specimens with layers are turned, and along layers in directions
#: 15 degrees apart.
ROWS = (Near(0.5, 20.0), Near(0.5, 20.0, 90.0))
ALONG = tuple(Near(0.6, 12.0, 15.0 * i) for i in range(12))


class Neighbours:
    """Images of a map, for sums of products between their neighbouring pixels.

    Parameters
    ----------
    images : ndarray of shape (ny * nx, k)
        Whose noise is independent from pixel to pixel.
    shape : tuple of int
        (ny, nx).
    nears : sequence of Near
        That will be asked for.
    """

    def __init__(self, images: np.ndarray, shape: tuple[int, int], nears: tuple[Near, ...]) -> None:
        reach = max(near.reach for near in nears)
        self._shape = tuple(fft.next_fast_len(n + min(n, reach), real=True) for n in shape)
        stack = np.ascontiguousarray(images.T, np.float32).reshape(-1, *shape)
        self._images = fft.rfft2(stack, s=self._shape).reshape(len(stack), -1)

    def in_common(self, near: Near) -> np.ndarray:
        """Sum products of images between neighbouring pixels, a pixel with itself left out.

        Returns
        -------
        ndarray of shape (k, k)
            Symmetric; noise alone has the mean 0.
        """
        gains = self._gains(near).astype(self._images.real.dtype)
        real, imaginary = self._images.real, self._images.imag
        both = (real * gains) @ real.T + (imaginary * gains) @ imaginary.T
        return np.asarray(0.5 * (both + both.T), np.float64)

    def _gains(self, near: Near) -> np.ndarray:
        """Weight of each product of frequencies (Parseval), each but the first column twice."""
        ny, nx = self._shape
        weights = near.weights()
        weights[near.reach, near.reach] = 0.0
        places = np.arange(-near.reach, near.reach + 1)
        # A neighbour farther than the map is wide meets nothing on the other side either.
        rows, columns = (places[abs(places) < n - n // 2] for n in (ny, nx))
        kernel = np.zeros(self._shape)
        kernel[np.ix_(rows % ny, columns % nx)] = weights[
            np.ix_(rows + near.reach, columns + near.reach)
        ]
        gains = fft.rfft2(kernel).real
        gains[:, 1 : (nx + 1) // 2] *= 2.0
        return np.asarray(gains.ravel() / (ny * nx))
