"""What is not known of the ratios of lines within families, as errors of a fit's amplitudes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from siftem.fit.line_fit import LineFit
from siftem.xray.line_groups import line_groups


def ratio_errors(fit: LineFit) -> np.ndarray:
    """Return how far the amplitudes move with the weights of lines that tables do not agree on.

    A group of lines (`siftem.xray.line_groups`) that is stronger by a standard deviation of what
    is known of it, its alpha lines being as strong, adds ``photons * width * shape`` to the
    counts; the fit, which holds the tabulated weights, answers by ``operator @ counts``. The
    groups are independent, so that ``errors @ errors.T`` is the covariance of all amplitudes
    that they cause: a systematic error, which more counts do not make smaller.

    Parameters
    ----------
    fit : LineFit

    Returns
    -------
    ndarray of shape (p, groups)
        In the units of the amplitudes. Groups of families without photons move nothing and
        are left out.
    """
    photons = fit.amplitudes[: len(fit.model.families)]
    groups = [
        (group, number)
        for family, number in zip(fit.model.families, photons, strict=True)
        if number > 0
        for group in line_groups(family)
    ]
    if not groups:
        return np.zeros((len(fit.names), 0))
    model = replace(fit.model, families=tuple(group.family for group, _ in groups))
    shapes = model.line_columns(fit.spectrum.axis, fit.calibration)
    return fit.operator @ (shapes * [number * group.width for group, number in groups])
