"""The fields that say what fixes how much matrix a mixture holds."""

from __future__ import annotations

from typing import Any

import panel as pn

from siftem.app.step_view import listed, put_text
from siftem.app.style import FIELD, TEXT_CSS, WIDE
from siftem.errors import InputError
from siftem.pipeline.recipe import AnchorChoice, Phase
from siftem.xray.elements import ratio_elements

_ABSENT = "An element that the grain lacks"
_RATIO = "A known ratio of two elements"
_STOICHIOMETRY = "A known ratio of sums of atoms"
_MOST = "Nothing is known of it"
_SCALE = "A given scale"
_EDGE = "An edge that the grain lacks"
_EDGE_RATIO = "A known ratio of two edges"
_OF_X_RAYS = [_ABSENT, _RATIO, _STOICHIOMETRY, _MOST, _SCALE]
_OF_LOSSES = [_EDGE, _EDGE_RATIO, _MOST, _SCALE]
#: What the field with names is called.
_NAMED = {
    _ABSENT: "Elements",
    _MOST: "Upper limit for (empty: interval)",
    _EDGE: "Edge, such as Ti_L3",
}

#: Ratios, with what an empty field shows.
_EXAMPLES = {_RATIO: "Mg/Ca", _STOICHIOMETRY: "(Ca+Mg+Fe)/(Si+Al)", _EDGE_RATIO: "O_K/Mn_L3"}


class AnchorForm:
    """Fields for one anchor; only those of the chosen kind are seen."""

    def __init__(self) -> None:
        self.kind = pn.widgets.Select(
            name="Anchor",
            options=[*_OF_X_RAYS, _EDGE, _EDGE_RATIO],
            **FIELD,
        )
        self.elements = pn.widgets.TextInput(name="Elements", placeholder="Si", **FIELD)
        self.ratio = pn.widgets.TextInput(name="Ratio of atoms", placeholder="Mg/Ca", **FIELD)
        self.value = pn.widgets.FloatInput(name="Value", value=1.0, start=0.0, **FIELD)
        self.sigma = pn.widgets.FloatInput(name="± its error", value=0.0, start=0.0, **FIELD)
        self.others = pn.pane.HTML("", stylesheets=[TEXT_CSS], **WIDE)
        self._shown: dict[str, Any] = {}
        self.panel = pn.Column(
            self.kind, self.elements, self.ratio, pn.Row(self.value, self.sigma), self.others
        )
        self.kind.param.watch(lambda _e: self._show_fields(), "value")
        self._show_fields()

    def suit(self, losses: bool) -> None:
        """Offer what applies to energy losses, or to X-rays."""
        offered = _OF_LOSSES if losses else _OF_X_RAYS
        if self.kind.options != offered:
            self.kind.options = offered

    def show(self, phase: Phase) -> None:
        """Show the first anchor of a phase; what the fields cannot tell is kept until edited."""
        anchor = phase.anchor[0] if phase.anchor else AnchorChoice()
        if anchor.absent is not None:
            self.kind.value = _ABSENT
            put_text(self.elements, ", ".join(anchor.absent))
        elif anchor.ratio is not None:
            self.kind.value = _RATIO
            put_text(self.ratio, f"{anchor.ratio.numerator}/{anchor.ratio.denominator}")
            self.value.value, self.sigma.value = anchor.ratio.value, anchor.ratio.sigma
        elif anchor.stoichiometry is not None:
            self.kind.value = _STOICHIOMETRY
            put_text(self.ratio, anchor.stoichiometry.ratio)
            self.value.value = anchor.stoichiometry.value
            self.sigma.value = anchor.stoichiometry.sigma
        elif anchor.scale is not None:
            self.kind.value = _SCALE
            self.value.value, self.sigma.value = anchor.scale.value, anchor.scale.sigma
        elif anchor.absent_edge is not None:
            self.kind.value = _EDGE
            put_text(self.elements, anchor.absent_edge.edge)
        elif anchor.edge_ratio is not None:
            r = anchor.edge_ratio
            self.kind.value = _EDGE_RATIO
            put_text(self.ratio, f"{r.numerator.edge}/{r.denominator.edge}")
            self.value.value, self.sigma.value = r.value, r.sigma
        else:
            self.kind.value = _MOST
            put_text(self.elements, ", ".join(anchor.most_matrix or ()))

        self.others.object = ""
        if len(phase.anchor) > 1:
            self.others.object = (
                f"<p class='hint'>The recipe has {len(phase.anchor) - 1} more for this grain. They "
                f"stay until you change the one above, which then stands alone.</p>"
            )
        self._shown = self.choice()

    @property
    def edited(self) -> bool:
        """Whether the fields say something else than when they were filled."""
        return self.choice() != self._shown

    def choice(self) -> dict[str, Any]:
        """Return the anchor as the recipe has it; {} for nothing, which leaves an interval.

        Raises
        ------
        InputError
            When a field is empty or cannot be read.
        """
        elements = list(listed(self.elements.value_input or self.elements.value))
        ratio = (self.ratio.value_input or self.ratio.value).strip()
        known = {"value": self.value.value, "sigma": self.sigma.value or 0.0}
        if self.kind.value == _ABSENT:
            if not elements:
                raise InputError("name an element that the grain lacks, such as Si")
            return {"absent": elements}
        if self.kind.value == _RATIO:
            return {"ratio": {**_two_parts(ratio, "elements, such as Mg/Ca"), **known}}
        if self.kind.value == _EDGE_RATIO:
            return {"edge_ratio": {**_two_parts(ratio, "edges, such as O_K/Mn_L3"), **known}}
        if self.kind.value == _STOICHIOMETRY:
            ratio_elements(ratio)
            return {"stoichiometry": {"ratio": ratio, **known}}
        if self.kind.value == _SCALE:
            return {"scale": known}
        if self.kind.value == _EDGE:
            if len(elements) != 1:
                raise InputError("name one edge that the grain lacks, such as Ti_L3")
            return {"absent_edge": elements[0]}
        return {"most_matrix": elements} if elements else {}

    def _show_fields(self) -> None:
        kind = self.kind.value
        self.elements.visible = kind in _NAMED
        self.elements.name = _NAMED.get(kind, "")
        self.ratio.visible = kind in _EXAMPLES
        self.ratio.placeholder = _EXAMPLES.get(kind, "")
        self.value.visible = self.sigma.visible = kind in _EXAMPLES or kind == _SCALE


def _two_parts(ratio: str, of: str) -> dict[str, str]:
    parts = [part.strip() for part in ratio.split("/")]
    if len(parts) != 2 or not all(parts):
        raise InputError(f"the ratio must be of two {of}, got {ratio!r}")
    return {"numerator": parts[0], "denominator": parts[1]}


def anchor_elements(phase: Phase) -> tuple[str, ...]:
    """Return the elements on whose lines the anchors of a phase stand."""
    return tuple(dict.fromkeys(e for anchor in phase.anchor for e in anchor.elements))
