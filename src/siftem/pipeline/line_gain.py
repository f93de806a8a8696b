"""What a whole region shows of a faint line beside a confined rectangle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LineGain:
    """Signal to noise of one line over the whole pure matrix and over a confined rectangle.

    Signals are net counts of the line's family from the fit, noises their standard
    deviations. Over one rectangle a faint line's signal is a matter of luck (its signal to
    noise scatters by 1), so the mean over all rectangles that fit is compared.

    Parameters
    ----------
    line : str
        Such as "Nd La".
    signal_whole, noise_whole : float
        Over the whole pure region, in counts.
    signals_rectangles : tuple of float
        Over each disjoint rectangle of the same size that fits into the region.
    noise_rectangle : float
        Mean noise over one of the rectangles.
    area_ratio : float
        Pixels of the whole region over those of one rectangle.
    """

    line: str
    signal_whole: float
    noise_whole: float
    signals_rectangles: tuple[float, ...]
    noise_rectangle: float
    area_ratio: float

    @property
    def whole(self) -> float:
        """Signal to noise over the whole pure region."""
        return self.signal_whole / self.noise_whole

    @property
    def rectangle(self) -> float:
        """Signal to noise over one rectangle: the mean over all of them."""
        signals = self.signals_rectangles
        return sum(signals) / len(signals) / self.noise_rectangle

    @property
    def gain(self) -> float:
        """Ratio of the two; infinite when the rectangles show nothing."""
        return self.whole / self.rectangle if self.rectangle > 0 else float("inf")

    @property
    def gain_at_equal_signal(self) -> float:
        """Gain if both held the line at the same strength per pixel: from the noises alone."""
        return self.area_ratio * self.noise_rectangle / self.noise_whole
