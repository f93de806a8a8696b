"""Kernels that a copy of the process compiles before their turn."""

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.datasets import simulate_demo
from siftem.pipeline import kernels_ahead
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.steps import decompose
from siftem.segment import forest, graph_cut, strip_cut
from siftem.segment.classifier import PixelClassifier
from siftem.unmixing import pixel_sets


def test_kernels_compiled_ahead_are_those_that_a_run_asks_for():
    kernels = [
        *(forest._grow_tree, forest.deepest, forest.vote_unseen, forest.vote),
        *(strip_cut._let_go, strip_cut._pair),
        *(pixel_sets.solve_abundances, pixel_sets.accumulate_ratios),
    ]
    kernels_ahead.compile_kernels()
    before = [len(kernel.signatures) for kernel in kernels]
    assert all(before)
    rng = np.random.default_rng(0)
    counts = rng.poisson(3.0, (3, 24, 24))
    counts[:, 8:] += rng.poisson(1.0, (3, 16, 24))
    traces = np.zeros((24, 24), int)
    traces[2:5, 2:20], traces[18:21, 2:20] = 1, 2
    trained = PixelClassifier(n_trees=4, sigmas=(1,)).fit(counts.astype(float), traces)
    graph_cut.graph_cut(trained.predict_proba(counts.astype(float)), smoothness=0.3)
    x = sp.csr_array(counts.reshape(3, -1).T.astype(np.float32))
    rows = pixel_sets.MixedRows.of(x, np.arange(500), np.ones(3))
    spectra, maps = np.full((3, 2), [0.5, 0.3]), np.ones((501, 2))
    rows.solve(spectra, np.ones((501, 2), np.uint8), maps)
    rows.ratios(spectra, maps)
    assert [len(kernel.signatures) for kernel in kernels] == before


@pytest.mark.parametrize("lack", [True, False])
def test_they_are_compiled_while_the_map_is_decomposed_where_they_lack(lack, tmp_path, monkeypatch):
    done = tmp_path / "compiled"
    monkeypatch.setattr(kernels_ahead, "was_compiled", lambda kernel: not lack)
    monkeypatch.setattr(decompose, "compile_kernels", done.touch)
    si = simulate_demo((8, 8), channels=64).spectrum_image
    recipe = make_recipe({"input": {"file": "map.hspy"}, "decompose": {"components": 2}})
    for n_jobs in (1, 2):
        assert not done.exists()
        decompose.decomposed(recipe, si, n_jobs=n_jobs, progress=lambda *_: None)
    assert done.exists() == lack


def test_what_is_on_the_disk_was_compiled(tmp_path):
    class Kernel:
        class stats:
            cache_path = str(tmp_path)

        def py_func(self):
            pass

    assert not kernels_ahead.was_compiled(Kernel)
    (tmp_path / "module.py_func-12.py311.nbi").touch()
    assert kernels_ahead.was_compiled(Kernel)
