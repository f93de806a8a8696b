"""Spectra of the phases for which their own pixels speak."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.ndimage import distance_transform_edt

from siftem.decomposition.layout import Lies
from siftem.decomposition.purest import (
    FEWEST_PIXELS,
    as_mixture,
    most_from_around,
)
from siftem.decomposition.support import AS_BESIDE, Below, over_core
from siftem.errors import DoubtWarning, SiftemWarning
from siftem.pipeline.fit_settings import FitSettings
from siftem.pipeline.layout import by_labels
from siftem.pipeline.open_scales import Host, OpenScale, border_scale, open_scale
from siftem.pipeline.parts import attempted
from siftem.pipeline.region_spectra import BLUR, host_names, spectrum_name
from siftem.pipeline.results import Matched
from siftem.printed_numbers import in_words
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

#: A phase of which no more than the second number is further from a border than the first lies in
#: threads: where they meet, or at the edge of the map, they are thicker.
_THREAD, _KNOTS = 2.5, 0.1
#: A part of a mixture that counts.
_PART = 0.1
#: Pixels that counts do not tell apart: fewer are no matter, of more there is a word.
_MISTAKEN, _HARD_TO_TELL = 0.01, 0.2
#: Largest part of a small phase's counts that may come from around it.
_BORDER = 0.1


@dataclass(frozen=True, eq=False)
class OwnPixels:
    """What the pixels say of phases without anchors.

    Parameters
    ----------
    si : SpectrumImage
    regions : Regions
    matched : Matched
    random_state : int
    contaminated : collection of str
        Phases with contaminants that only the recipe knows: without their anchors there is no
        range that holds what overlaps them, and they stay missing.
    impure : mapping of str to float
        How much of a phase's purest pixels may be other phases; see `region_spectra`.
    """

    si: SpectrumImage
    regions: Regions
    matched: Matched
    random_state: int
    contaminated: Collection[str] = ()
    impure: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The matrix first, the grains in the order of the regions."""
        return (self.regions.matrix, *self.regions.names)

    @property
    def pure_pixels(self) -> dict[str, np.ndarray]:
        """Pixels of each phase that hold nothing else, out of reach of borders; (ny, nx)."""
        out = {}
        for name in self.names:
            if not self._host_names(name) and not self._is_thin(name):
                own = self.regions.own(name).mask
                deep = (
                    own
                    & (distance_transform_edt(np.pad(own, 1, mode="edge")) > _THREAD)[1:-1, 1:-1]
                )
                out[name] = deep
        return out

    def spectra(
        self,
        integrated: Mapping[str, Spectrum],
        made: Mapping[str, Spectrum],
        settings: FitSettings | None,
        missing: MutableMapping[str, str] | None = None,
    ) -> tuple[dict[str, Spectrum], dict[str, OpenScale]]:
        """Add to the spectra that anchors made those of all other phases; tell what is missing.

        Returns
        -------
        pure : dict of str to Spectrum
            In the order of `names`.
        scales : dict of str to OpenScale

        Warns
        -----
        SiftemWarning
            What is not known, for each grain in one line.
        """
        pure = dict(made)
        scales: dict[str, OpenScale] = {}
        waiting = [g for g in self.regions.names if g not in made and g not in self.contaminated]
        if self._host_names(self.regions.matrix):
            # Two phases that pass into each other: neither is anywhere for sure alone.
            waiting.append(self.regions.matrix)
        while waiting:
            grain = next((g for g in waiting if not self._waits(g, waiting)), waiting[0])
            waiting.remove(grain)
            label = spectrum_name(grain, self.matched)
            spectrum = integrated.get(grain if grain == self.regions.matrix else label)
            if spectrum is None:
                continue
            hosts = self._hosts(grain, integrated, pure, scales)
            lost = [h for h in self._host_names(grain) if h not in hosts]
            if lost:
                # As it is, the mixture would pass for the grain.
                reason = f"there is no spectrum of {' and '.join(lost)}, which its pixels may hold"
                what = f"the pure spectrum of {grain}"
                warnings.warn(f"{what} is missing: {reason}", DoubtWarning, stacklevel=3)
                if missing is not None:
                    missing[what] = reason
                continue
            region = self.regions.own(grain)
            fit = None if settings is None else settings.fit
            if not hosts:
                pure[grain] = replace(spectrum, name=grain)
                continue
            found = attempted(
                f"the pure spectrum of {grain}",
                partial(
                    open_scale,
                    self.si,
                    grain,
                    spectrum,
                    region,
                    hosts,
                    fit=fit,
                    random_state=self.random_state,
                ),
                None,
                missing=missing,
            )
            if found is None:
                continue
            pure[grain], scales[grain] = found
            waiting += self._to_do_again(grain, scales)
        for said in filter(None, (scale.describe() for scale in scales.values())):
            warnings.warn(said, SiftemWarning, stacklevel=3)
        fit = None if settings is None else settings.fit
        for name in [n for n in self.names if n in pure]:
            beside = self._beside(name, pure)
            most = self._most(name, {name: pure[name], **beside})
            of_each = dict.fromkeys(beside, most) if most > 0 else {}
            self._warn_of_mistakes(name)
            for other, share in self._mistaken(name).items():
                of_each[other] = max(of_each.get(other, 0.0), share)
            held = {n: s for n, s in pure.items() if n in of_each}
            if held:
                by_border = border_scale(name, pure[name], held, of_each, fit=fit)
                scales[name] = by_border.with_ends_of(scales.get(name))
                self._warn_of_a_border(name, pure[name], beside)
                if most == 1.0:
                    warnings.warn(
                        f"{name}: all of its pixels touch other phases, or are in a probe's reach "
                        f"of them: its spectrum may be a mixture, and its intervals hold as much "
                        f"of {in_words(list(beside))} as leaves nothing negative. Smaller pixels "
                        f"and a finer probe would tell; if it is wider than the probe, say so in "
                        f"a recipe (lies: pure)",
                        DoubtWarning,
                        stacklevel=3,
                    )
        return {n: pure[n] for n in self.names if n in pure}, scales

    def _to_do_again(self, grain: str, scales: Mapping[str, OpenScale]) -> list[str]:
        """Grains that were done before their host was seen to go on below this one."""
        films = [h for h in self._host_names(grain) if scales[grain].goes_on(h)]
        known = [g for g in scales if g != grain]
        new = [h for h in films if not any(scales[g].goes_on(h) for g in known)]
        return [g for g in known if set(new) & set(self._host_names(g))]

    def _labelled(self, name: str) -> np.ndarray | None:
        """Pixels of a phase by the layout, where it makes the masks; (ny, nx)."""
        layout, names = self.matched.layout, self.matched.factors.names
        if layout is None or name not in names or not by_labels(layout):
            return None
        return layout.labels == names.index(name)

    def _most(self, name: str, near: Mapping[str, Spectrum]) -> float:
        """Largest share of a phase's counts that may come over its borders.

        Of all, where every pixel is in reach of them.
        """
        mask = self._labelled(name)
        if mask is None or self.si.acquisition.bulk:
            return 0.0
        if self._is_thin(name):
            return 1.0
        away = distance_transform_edt(mask)
        lies = self._lies(name)
        if (away > BLUR).sum() >= FEWEST_PIXELS or (lies is not None and lies.told):
            return self.impure.get(name, 0.0)
        shapes = np.maximum([s.counts for s in near.values()], 0.0) + 1e-9
        shapes = shapes / shapes.sum(axis=1, keepdims=True)
        by_rings = most_from_around(self.si.counts, away, shapes)
        return max(self.impure.get(name, 0.0), by_rings, _BORDER)

    def _is_thin(self, name: str) -> bool:
        """Whether a phase's pixels touch other phases, which a probe reaches as well."""
        layout, names = self.matched.layout, self.matched.factors.names
        return (
            layout is not None
            and self._labelled(name) is not None
            and layout.is_thin(names.index(name))
        )

    def _mistaken(self, name: str) -> dict[str, float]:
        """Largest share of a phase's counts that may be another's whose pixels look alike.

        As much as must be taken off to be rid of it, since the other's pixels are mistaken as
        well. Hosts have ranges of their own; what may go on evenly above it may be all of it.
        """
        layout, names = self.matched.layout, self.matched.factors.names
        lies = self._lies(name)
        out = {} if lies is None else dict.fromkeys((names[h] for h in lies.perhaps), 1.0)
        if self._labelled(name) is None or layout is None or layout.mistaken is None:
            return out
        i = names.index(name)
        for j, other in enumerate(names):
            share, back = float(layout.mistaken[i, j]), float(layout.mistaken[j, i])
            if share > _MISTAKEN and other not in (*self._host_names(name), *out):
                out[other] = min(share / max(1.0 - back, 0.1), 1.0)
        return out

    def _warn_of_mistakes(self, name: str) -> None:
        """Tell of pixels that may be another phase's."""
        layout, names = self.matched.layout, self.matched.factors.names
        if self._labelled(name) is None or layout is None or layout.mistaken is None:
            return
        shares = zip(names, layout.mistaken[names.index(name)].tolist(), strict=True)
        many = {n: v for n, v in shares if v > _HARD_TO_TELL and n not in self._host_names(name)}
        if not many:
            return
        text = in_words([f"{100 * v:.0f}% {n}" for n, v in many.items()])
        hold = "" if self.si.acquisition.bulk else ", which its intervals hold"
        warnings.warn(
            f"{name}: so few counts do not tell its pixels from those of others: up to {text} may "
            f"be among them{hold}. More counts a pixel, or binned pixels, would tell",
            DoubtWarning,
            stacklevel=4,
        )

    def _warn_of_a_border(
        self, name: str, spectrum: Spectrum, beside: Mapping[str, Spectrum]
    ) -> None:
        """Tell of threads between phases that may be their blurred border."""
        mask = self._labelled(name)
        if mask is None or len(beside) < 2:
            return
        if (distance_transform_edt(mask)[mask] > _THREAD).mean() > _KNOTS:
            return
        shares = as_mixture(spectrum.counts, np.stack([s.counts for s in beside.values()], axis=1))
        made = {} if shares is None else dict(zip(beside, shares, strict=True))
        made = {n: v for n, v in made.items() if v > _PART}
        if len(made) > 1:
            text = " and ".join(f"{100 * v:.0f}% of {n}" for n, v in made.items())
            warnings.warn(
                f"{name}: it lies in threads between other phases, and {text} would give its "
                f"spectrum: it may be their border, blurred or oblique, and no phase",
                DoubtWarning,
                stacklevel=4,
            )

    def _beside(self, name: str, pure: Mapping[str, Spectrum]) -> dict[str, Spectrum]:
        """Phases within a probe's reach, but for the hosts of a phase, of which ranges tell."""
        mask = self._labelled(name)
        if mask is None:
            return {}
        near = distance_transform_edt(~mask) <= BLUR
        out = {}
        for other, spectrum in pure.items():
            theirs = self._labelled(other)
            host = other in self._host_names(name)
            if other != name and not host and theirs is not None and (theirs & near).any():
                out[other] = spectrum
        return out

    def _lies(self, grain: str) -> Lies | None:
        layout, names = self.matched.layout, self.matched.factors.names
        return layout.phases[names.index(grain)] if layout is not None and grain in names else None

    def _host_names(self, grain: str) -> tuple[str, ...]:
        return host_names(grain, self.matched)

    def _waits(self, grain: str, waiting: Collection[str]) -> bool:
        return any(h in waiting for h in self._host_names(grain))

    def _hosts(
        self,
        grain: str,
        integrated: Mapping[str, Spectrum],
        pure: Mapping[str, Spectrum],
        scales: Mapping[str, OpenScale],
    ) -> dict[str, Host]:
        out: dict[str, Host] = {}
        for name in self._host_names(grain):
            # Two phases that pass into each other are each other's hosts: as they are summed.
            label = name if name == self.regions.matrix else spectrum_name(name, self.matched)
            found = pure.get(name, integrated.get(label))
            if found is not None:
                below, known = self._below(grain, name), scales.get(name)
                ends = () if known is None else known.ends_beside(out)
                goes_on = any(s.goes_on(name) for g, s in scales.items() if g != grain)
                named = replace(found, name=name)
                covers = self._covers(grain, name)
                out[name] = Host(named, below, self.regions.own(name), ends, goes_on, covers)
        return out

    def _covers(self, grain: str, host: str) -> float:
        """How much of a shell is above and below what it lies around; 0 of any other host."""
        core, shell = self._labelled(grain), self._labelled(host)
        nearest = host == self._host_names(grain)[-1]
        return 0.0 if not nearest or core is None or shell is None else over_core(core, shell)

    def _below(self, grain: str, host: str) -> Below | None:
        """How much of a host lies below a grain, where it is a film; else None."""
        lies, film = self._lies(grain), self._lies(host)
        if lies is not None and lies.below is not None and host == self._host_names(grain)[0]:
            return lies.below
        return AS_BESIDE if film is not None and film.role == "support" else None
