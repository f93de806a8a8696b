"""The parts of a recipe that turn compositions into minerals."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from siftem.errors import InputError
from siftem.minerals.constraints import (
    ChargeBalance,
    Constraint,
    KnownFraction,
    KnownStoichiometry,
    SiteOccupancy,
)
from siftem.pipeline.recipe_anchors import checked_ratio
from siftem.pipeline.recipe_parts import NotNegative, Positive, Section, checked_elements

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
