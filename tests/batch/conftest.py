import made_up_batch
import pytest
import yaml

import siftem.batch.map_job as map_job


@pytest.fixture
def stand_ins(monkeypatch):
    """The work on a map done by fast stand-ins."""
    monkeypatch.setattr(map_job, "Workflow", made_up_batch.Workflow)
    monkeypatch.setattr(map_job, "write_results", made_up_batch.write_results)


@pytest.fixture
def maps(tmp_path):
    """Three "maps" for the stand-ins."""
    folder = tmp_path / "maps"
    folder.mkdir()
    for name, number in (("a1", 10.0), ("a2", 11.0), ("a10", 12.0)):
        (folder / f"{name}.txt").write_text(f"{number}")
    return [folder / f"{name}.txt" for name in ("a1", "a2", "a10")]


@pytest.fixture
def visits(maps):
    """Which maps were worked on since it was last asked."""

    def seen():
        path = maps[0].parent / "visits.txt"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    return seen


REAL_RECIPE = {
    "title": "small",
    "elements": ["O", "Mg", "Al", "Si", "Ca", "Fe"],
    "support": ["Cu"],
    "matrix": "Brg",
    "phases": {
        "Brg": {"high": ["Si", "Al"]},
        "Fp": {"high": ["Mg", "Fe"], "absent": ["Si"], "anchor": {"absent": ["Si"]}},
        "Ca-Pv": {"high": ["Ca"], "anchor": {"absent": ["Mg"]}},
    },
    "segment": {"trees": 20},
    "unmix": False,
    "quantify": {"ratios": ["Mg/(Mg+Fe)"]},
}


@pytest.fixture(scope="session")
def real_maps(tmp_path_factory):
    """Four small simulated maps as files, and a recipe without input."""
    from siftem import to_hyperspy
    from siftem.simulate.phantom import simulate_demo

    folder = tmp_path_factory.mktemp("real")
    files = []
    for seed in (1, 2, 3, 4):
        si = simulate_demo((32, 32), channels=1100, dose=400, random_state=seed).spectrum_image
        signal = to_hyperspy(si)
        signal.compute(progressbar=False)
        signal.save(folder / f"map{seed}.hspy")
        files.append(folder / f"map{seed}.hspy")
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(REAL_RECIPE))
    return recipe, files
