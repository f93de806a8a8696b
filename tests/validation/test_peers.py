"""What the others find in a map without noise to speak of is what is there."""

import numpy as np
import pytest
from benchmarks import peers_any_map as peers
from validation.foreign_phantoms import phantom


@pytest.fixture(scope="module")
def found():
    return peers.peer_angles(phantom("interface", size=12, seed=0), 3000, 0)


@pytest.mark.parametrize("peer", ["HyperSpy NMF", "cluster_analysis", "k-means"])
def test_two_halves_are_found_by_everyone(found, peer):
    # 72 pixels of 3000 counts: noise alone turns a spectrum by less than a degree.
    assert len(found[peer]) == 2
    assert max(found[peer]) < 5


def test_the_table_counts_who_is_best():
    def row(layout, own, other):
        angles = {m: [other] for m in peers.PEERS} | {"siftem": own, "siftem, anchored": [1.0]}
        return {"layout": layout, "dose": 30.0, "seed": 0, "size": 8, "angles": angles}

    text = peers.table([row("a", [1.0, 3.0], 2.1), row("b", [9.0], 2.0), row("c", "failed", 8.0)])
    assert "| a | 30 | 2.0 | 1.0 | 2.1 |" in text and "| c | 30 | 90.0 | 1.0 |" in text
    assert "of 3 cases: siftem in 1, siftem, anchored in 3." in text


def test_angles_are_those_of_matched_spectra():
    true = np.eye(2)
    assert peers._angles([true[1], true[0]], true) == [0, 0]
    assert peers._angles([true[1]], true) == [90, 0]
