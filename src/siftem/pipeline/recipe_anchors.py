"""What a recipe says is known: anchors of grains, and what turns compositions into minerals.

An anchor fixes how much matrix the mixture of a grain holds.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from siftem.eels.subtract import AbsentEdge, EdgeRatio
from siftem.errors import InputError
from siftem.minerals.constraints import (
    ChargeBalance,
    Constraint,
    KnownFraction,
    KnownStoichiometry,
    SiteOccupancy,
)
from siftem.pipeline.recipe_parts import (
    EdgeChoice,
    NotNegative,
    Positive,
    Section,
    checked_elements,
)
from siftem.printed_numbers import in_words
from siftem.unmixing.anchors import (
    Absent,
    Anchor,
    GivenScale,
    KnownRatio,
    MostMatrix,
    Stoichiometry,
)
from siftem.xray.elements import ratio_elements


@dataclass(frozen=True)
class AnchorSettings:
    """What a run has for its anchors.

    Parameters
    ----------
    elements : tuple of str
        That are quantified.
    k_of : callable
        Returns, for some elements, those k-factors of emitted family photons that are not the
        computed ones.
    """

    elements: tuple[str, ...] = ()
    k_of: Callable[[tuple[str, ...]], dict[str, float]] = lambda elements: {}


class OnLines(Section):
    """A condition on the grain's lines, as unmixing needs."""

    @abstractmethod
    def make(self, run: AnchorSettings) -> Anchor:
        """Return the anchor."""


class OnEdges(Section):
    """A condition on edges of energy losses, which says nothing of X-rays."""

    @abstractmethod
    def make(self) -> AbsentEdge | EdgeRatio:
        """Return the anchor."""


class RatioAnchor(OnLines):
    """A known ratio of two elements in the grain."""

    numerator: str
    denominator: str
    value: NotNegative
    sigma: NotNegative = 0.0
    by: Literal["atoms", "weight"] = "atoms"

    @field_validator("numerator", "denominator")
    @classmethod
    def _known(cls, value: str) -> str:
        return checked_elements((value,))[0]

    def make(self, run: AnchorSettings) -> Anchor:
        """Return the anchor; the k-factors that the run was given hold for its elements."""
        given = run.k_of((self.numerator, self.denominator))
        if given and self.by == "atoms":
            text = f"{self.numerator}/{self.denominator}"
            return Stoichiometry(text, self.value, sigma=self.sigma, k_factors=given)
        return KnownRatio(
            self.numerator, self.denominator, self.value, sigma=self.sigma, by=self.by
        )


class StoichiometryAnchor(OnLines):
    """A known ratio of sums of atoms in the grain, such as (Ca+Mg+Fe)/(Si+Al) = 1."""

    ratio: str
    value: NotNegative = 1.0
    sigma: NotNegative = 0.0

    @field_validator("ratio")
    @classmethod
    def _readable(cls, value: str) -> str:
        return checked_ratio(value)

    def make(self, run: AnchorSettings) -> Anchor:
        """Return the anchor; the k-factors that the run was given hold for its elements."""
        given = run.k_of(ratio_elements(self.ratio))
        return Stoichiometry(self.ratio, self.value, sigma=self.sigma, k_factors=given)


class ScaleAnchor(Section):
    """A given factor on the spectrum of the matrix, or of another contaminant."""

    value: NotNegative
    sigma: NotNegative = 0.0
    of: str = Field("", description="whose spectrum; the matrix' when nothing is said")

    def make(self, run: AnchorSettings | None = None) -> GivenScale:
        """Return the anchor."""
        return GivenScale(self.value, self.sigma, of=self.of)


class EdgeRatioAnchor(OnEdges):
    """Energy losses: a known ratio of two elements in the grain, by atoms, from their edges."""

    numerator: EdgeChoice
    denominator: EdgeChoice
    value: NotNegative
    sigma: NotNegative = 0.0

    @model_validator(mode="after")
    def _of_two_elements(self) -> EdgeRatioAnchor:
        elements = self.numerator.made().element, self.denominator.made().element
        if elements[0] == elements[1]:
            raise ValueError(f"a ratio is of two elements, not of {elements[0]} to itself")
        return self

    def make(self) -> EdgeRatio:
        """Return the anchor."""
        return EdgeRatio(self.numerator.made(), self.denominator.made(), self.value, self.sigma)


class AnchorChoice(Section):
    """One thing known of a grain: exactly one of these keys, or none.

    With none, nothing is assumed: what the counts leave open is an interval.
    """

    absent: tuple[str, ...] | None = None
    ratio: RatioAnchor | None = None
    stoichiometry: StoichiometryAnchor | None = None
    scale: ScaleAnchor | None = None
    absent_edge: EdgeChoice | None = Field(
        None, description="energy losses: an edge that the grain lacks, such as Ti_L3"
    )
    edge_ratio: EdgeRatioAnchor | None = None
    most_matrix: tuple[str, ...] | None = Field(
        None, description="elements of which no line may become negative"
    )

    @field_validator("absent", "most_matrix")
    @classmethod
    def _known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and not value:
            raise ValueError("name at least one element")
        return None if value is None else checked_elements(value)

    @model_validator(mode="after")
    def _at_most_one(self) -> AnchorChoice:
        if len(self.model_dump(exclude_none=True)) > 1:
            raise ValueError(
                f"one anchor is one of {in_words([*type(self).model_fields])}, not several: give "
                "several as a list"
            )
        return self

    @property
    def on_lines(self) -> bool:
        """Whether it is a condition on the grain's lines, as unmixing needs."""
        return self.absent is not None or isinstance(self._section, OnLines)

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements on whose lines it stands."""
        return () if self.on_edges else self.make(AnchorSettings()).elements

    @property
    def on_edges(self) -> bool:
        """Whether it is on edges of energy losses, which say nothing of X-rays."""
        return self.absent_edge is not None or isinstance(self._section, OnEdges)

    @property
    def _section(self) -> Any:
        given = (getattr(self, name) for name in type(self).model_fields)
        return next((one for one in given if isinstance(one, Section)), None)

    def make(self, run: AnchorSettings) -> Anchor:
        """Return the anchor of an X-ray spectrum.

        Parameters
        ----------
        run : AnchorSettings
            Its elements are those that ``most_matrix`` looks at when it names none.

        Raises
        ------
        InputError
            When it is on edges.
        """
        if self.on_edges:
            raise InputError("an anchor on edges of energy losses says nothing of X-ray lines")
        if self.absent is not None:
            return Absent(*self.absent)
        if isinstance(self._section, OnLines | ScaleAnchor):
            return self._section.make(run)
        return MostMatrix(self.most_matrix or run.elements)

    def make_for_losses(self) -> AbsentEdge | EdgeRatio | GivenScale | None:
        """Return the anchor of an energy-loss spectrum; None when it is one on X-ray lines."""
        if self.absent_edge is not None:
            return AbsentEdge(self.absent_edge.made())
        if isinstance(self._section, OnEdges):
            return self._section.make()
        return None if self.scale is None else self.scale.make()


def checked_ratio(text: str) -> str:
    """Return an atomic ratio such as "(Mg+Fe)/O", or raise a ValueError that says what is wrong."""
    try:
        ratio_elements(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


Setting = Literal["rock", "mantle", "deep", "meteorite", "ore", "technical"]


class Identify(Section):
    """Names that are proposed for the phases, from a table of minerals and compounds."""

    run: bool = Field(True, description="false: no names")
    table: str | None = Field(
        None, description="CSV with phases of your own: name, setting, members, source"
    )
    settings: tuple[Setting, ...] = Field((), description="only phases of these; all by default")
    none_prior: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description='probability of "none of these" before the measurement'
    )


class ConstraintChoice(Section):
    """Something known of a phase: exactly one of ratio, charge_balance, sites and element."""

    phase: str
    sigma: Positive = Field(
        description="width: of the ratio, relative for charges and sites, at% for an element"
    )
    ratio: str | None = Field(None, description="of sums of atoms, such as (Mg+Fe)/O")
    value: NotNegative = Field(1.0, description="of the ratio, or at% of the element")
    charge_balance: bool = Field(False, description="cations and anions balance")
    sites: str | None = Field(None, description="a mineral group all of whose sites are full")
    element: str | None = Field(None, description="of which the content is known")
    iron: Literal["2+", "3+", "free"] = "2+"
    valences: dict[str, Positive] = Field({}, description="charges that are not the usual ones")

    @field_validator("ratio")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        return None if value is None else checked_ratio(value)

    @model_validator(mode="after")
    def _one_kind(self) -> ConstraintChoice:
        given = [k for k in ("ratio", "charge_balance", "sites", "element") if getattr(self, k)]
        if len(given) != 1:
            raise ValueError(
                "one constraint is exactly one of ratio, charge_balance, sites and element"
            )
        if self.element is not None:
            checked_elements((self.element,))
        checked_elements(self.valences)
        try:
            self.made()
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    def made(self) -> Constraint:
        """Return the constraint."""
        if self.ratio is not None:
            return KnownStoichiometry(
                phase=self.phase, sigma=self.sigma, ratio=self.ratio, ratio_value=self.value
            )
        if self.sites is not None:
            return SiteOccupancy(
                phase=self.phase, sigma=self.sigma, group=self.sites, iron=self.iron
            )
        if self.element is not None:
            share = 0.0 if "value" not in self.model_fields_set else self.value / 100
            return KnownFraction(
                phase=self.phase, sigma=self.sigma / 100, element=self.element, fraction=share
            )
        return ChargeBalance(
            phase=self.phase, sigma=self.sigma, iron=self.iron, valences=self.valences
        )


class Calibrate(Section):
    """One calibration of k-factors and film by what is known of all phases."""

    constraints: tuple[ConstraintChoice, ...] = Field(
        (), description="what is known; none: nothing is calibrated"
    )
    hold_out: tuple[str, ...] = Field(
        (), description="phases that take no part: they are predicted, as a check"
    )
    thickness_sigma: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="relative, of a thickness that is given without a range"
    )
    evenness: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="relative spread of the film from phase to phase, if it is not known"
    )
    slope_sigma: Annotated[float, Field(ge=0, lt=5)] = Field(
        0.0, description="the film is a plane: width of its relative change across the map"
    )
    window_sigma: Annotated[float, Field(ge=0, lt=2)] | None = Field(
        None,
        description="relative, of the detector's window; if none was told, polymer windows (.58)",
    )
    film_map: Literal["counts", "haadf"] = Field(
        "counts", description="what the map of mass thickness is by: counts, or the file's HAADF"
    )
    film_dark: NotNegative | None = Field(
        None, description="level of the HAADF without film, if it is known"
    )
    dead_layer_sigma: NotNegative = Field(
        0.0, description="nm of silicon, of the detector's dead layer"
    )

    together: bool = Field(
        False, description="a batch: one calibration of all its maps, each in a film of its own"
    )
    alike: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.9, description="of the maps of a batch: share of what is known that is off in all alike"
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> Calibrate:
        if self.constraints and all(c.phase in self.hold_out for c in self.constraints):
            raise ValueError("all constraints are on phases that are held out: nothing calibrates")
        return self


def named_phases(calibrate: Calibrate) -> tuple[str, ...]:
    """Return the phases that a calibration names."""
    return tuple(dict.fromkeys([*(c.phase for c in calibrate.constraints), *calibrate.hold_out]))


def switched(value: Any) -> Any:
    """Turn ``identify: false`` into its section."""
    return {"run": value} if isinstance(value, bool) else value
