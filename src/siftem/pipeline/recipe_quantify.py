"""The part of a recipe that turns spectra into compositions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from siftem.pipeline.recipe_anchors import checked_ratio
from siftem.pipeline.recipe_parts import (
    EdgeChoice,
    NotNegative,
    Positive,
    Section,
    Window,
    checked_elements,
)
from siftem.quantification.k_values import factor_line


class _Factors(Section):
    """Factors of elements, written down or in a file."""

    values: dict[str, Positive] | None = Field(
        None, description="of lines (Ba La), or of elements measured by their usual lines"
    )
    file: str | None = Field(None, description="CSV: element, factor, relative sigma (optional)")
    line: Literal["family", "alpha"] = "alpha"
    detector: Literal["included", "apart"] = "included"
    relative_sigma: dict[str, NotNegative] = Field({})

    @field_validator("values", "relative_sigma")
    @classmethod
    def _known(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for line in value or ():
            factor_line(line)
        return value

    @model_validator(mode="after")
    def _one_source(self) -> _Factors:
        if (self.values is None) == (self.file is None):
            raise ValueError("give one of values and file")
        if self.values is not None and not self.values:
            raise ValueError("values must name at least one element")
        return self


class KFactors(_Factors):
    """k-factors by weight that override computed ones."""

    reference: str = Field(
        "", description="element that ties them to computed ones; k = 1 if it has none"
    )


class ZetaFactors(_Factors):
    """Zeta-factors in kg electron / (m2 photon): composition and mass thickness together."""

    reference: str = ""


class Standard(Section):
    """A spectrum of known composition, from which k-factors are calibrated."""

    file: str = Field(description="EMSA (.msa, .emsa), or a map of which all pixels are summed")
    signal: int | None = None
    weight_percent: dict[str, Positive]
    relative_sigma: NotNegative = Field(0.0, description="of the known composition")
    support: tuple[str, ...] = ()
    thickness: Positive | None = Field(None, description="nm")
    density: Positive | None = Field(None, description="g/cm3")
    take_off_angle: Annotated[float, Field(gt=0, le=90)] | None = Field(None, description="degrees")
    reference: str | None = None

    @field_validator("weight_percent")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        if len(checked_elements(value)) < 2:
            raise ValueError("a standard for k-factors needs at least two elements")
        return value

    @field_validator("support")
    @classmethod
    def _known_support(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_elements(value)

    @model_validator(mode="after")
    def _whole_film(self) -> Standard:
        if (self.thickness is None) != (self.density is None):
            raise ValueError("a standard's absorption needs both thickness and density, or none")
        return self


class Onuma(Section):
    """Partition coefficients against ionic radii, with lattice strain."""

    coordination: Literal[6, 8, 12] = Field(8, description="of the site")
    temperature: Positive | None = Field(None, description="K, for Young's modulus")


class Quantify(Section):
    """From spectra to compositions."""

    thickness: NotNegative | tuple[NotNegative, Positive] | None = Field(
        None, description="nm along the beam, or its least and most; 0: nothing is absorbed"
    )
    sums: Literal["plain", "weighted"] = Field(
        "plain", description="weighted: a grain's pixels count by its share, with less noise"
    )
    oxygen: Literal["measured", "stoichiometry"] = "measured"
    window: Literal["none", "polymer"] | None = Field(
        None, description="of the detector; not known, computed k-factors of soft lines may be off"
    )
    k_factors: KFactors | None = None
    standard: Standard | None = None
    zeta_factors: ZetaFactors | None = None
    electrons_per_pixel: Positive | None = Field(
        None, description="with zeta_factors; else from the file's beam current and live time"
    )
    cross_sections: str | None = Field(
        None, description="CSV: Z, shell, beam energy (keV), cross-section (cm2)"
    )
    energy_range: Window = (0.25, None)
    continuum_terms: Annotated[int, Field(ge=1, le=8)] | None = Field(
        None, description="by default as many and as stiff as each spectrum asks for"
    )
    free_l_groups: bool = False
    ratios: tuple[str, ...] = Field((), description="atomic ratios such as (Mg+Fe)/O")
    partition: tuple[tuple[str, str], ...] | None = Field(
        None, description="pairs of phases; each grain over the matrix when nothing is said"
    )
    onuma: Onuma = Onuma()
    edges: tuple[EdgeChoice, ...] = Field(
        (), description="energy losses: one for each element, compared with the first"
    )
    wanted_limits: dict[str, Positive] = Field(
        {}, description="weight percent, for which the counts needed are told"
    )

    @field_validator("ratios")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for ratio in value:
            checked_ratio(ratio)
        return value

    @field_validator("wanted_limits")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        checked_elements(value)
        return value

    @model_validator(mode="after")
    def _one_kind_of_factors(self) -> Quantify:
        given = [n for n in ("k_factors", "standard", "zeta_factors") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: give one of them")
        if self.zeta_factors and self.thickness is not None:
            raise ValueError("zeta_factors give the mass thickness: leave thickness out")
        if self.electrons_per_pixel is not None and not self.zeta_factors:
            raise ValueError("electrons_per_pixel belongs to zeta_factors only")
        return self
