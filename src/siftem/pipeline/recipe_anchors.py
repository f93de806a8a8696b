"""The anchors of a recipe: what fixes how much matrix the mixture of a grain holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator, model_validator

from siftem.eels.subtract import AbsentEdge, EdgeRatio
from siftem.errors import InputError
from siftem.pipeline.recipe_parts import EdgeChoice, NotNegative, Section, checked_elements
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


class RatioAnchor(Section):
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


class StoichiometryAnchor(Section):
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


class EdgeRatioAnchor(Section):
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
                "one anchor is one of absent, ratio, stoichiometry, scale, absent_edge, "
                "edge_ratio and most_matrix, not several: give several as a list"
            )
        return self

    @property
    def on_lines(self) -> bool:
        """Whether it is a condition on the grain's lines, as unmixing needs."""
        return not (self.absent is None and self.ratio is None and self.stoichiometry is None)

    @property
    def on_edges(self) -> bool:
        """Whether it is on edges of energy losses, which say nothing of X-rays."""
        return not (self.absent_edge is None and self.edge_ratio is None)

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
        for known in (self.ratio, self.stoichiometry, self.scale):
            if known is not None:
                return known.make(run)
        return MostMatrix(self.most_matrix or run.elements)

    def make_for_losses(self) -> AbsentEdge | EdgeRatio | GivenScale | None:
        """Return the anchor of an energy-loss spectrum; None when it is one on X-ray lines."""
        if self.absent_edge is not None:
            return AbsentEdge(self.absent_edge.made())
        if self.edge_ratio is not None:
            return self.edge_ratio.make()
        return None if self.scale is None else self.scale.make()


def checked_ratio(text: str) -> str:
    """Return an atomic ratio such as "(Mg+Fe)/O", or raise a ValueError that says what is wrong."""
    try:
        ratio_elements(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text
