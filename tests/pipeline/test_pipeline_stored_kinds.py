"""Whatever may stand in a result can be kept on disk."""

import dataclasses
import typing

from siftem.decomposition.neighbours import Near
from siftem.decomposition.rank import Kinds
from siftem.pipeline.stored_results import _KINDS, read_checkpoint, write_checkpoint


def kinds_in(hint):
    """Dataclasses that a type hint names."""
    if dataclasses.is_dataclass(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from kinds_in(part)


def test_every_kind_that_a_stored_kind_holds_is_stored():
    missing = {
        f"{kind.__name__}.{field.name}: {held.__name__}"
        for kind in _KINDS.values()
        for field in dataclasses.fields(kind)
        if field.init
        for held in kinds_in(typing.get_type_hints(kind)[field.name])
        if _KINDS.get(held.__name__) is not held
    }
    assert not missing


def test_kinds_along_layers_come_back_from_disk(tmp_path):
    kinds = Kinds((0.3, 0.1), layers=Near(0.6, 12.0, 45.0))
    write_checkpoint(tmp_path, "decompose", "key", kinds, ())
    assert read_checkpoint(tmp_path, "decompose", "key")[0] == kinds
