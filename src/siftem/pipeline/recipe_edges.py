"""Edges of energy-loss spectra, as a recipe names them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from siftem.eels.edges import Edge
from siftem.errors import InputError
from siftem.pipeline.recipe_parts import Positive, Section


class EdgeChoice(Section):
    """An edge and its windows; a name alone stands for the default windows."""

    edge: str = Field(description="element and subshell, such as Ti_L3")
    background: tuple[Positive, Positive] | None = Field(None, description="eV, before the edge")
    signal: tuple[Positive, Positive] | None = Field(None, description="eV, from the edge on")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"edge": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> EdgeChoice:
        try:
            self.made()
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    def made(self) -> Edge:
        """Return the edge."""
        return Edge(self.edge, background=self.background, signal=self.signal)
