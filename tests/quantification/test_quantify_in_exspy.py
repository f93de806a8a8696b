"""Pure spectra leave siftem for eXSpy's own quantification."""

import numpy as np
import pytest

from siftem.io.exchange import write_emsa
from siftem.io.hyperspy_export import to_hyperspy
from siftem.quantification.composition import quantify
from siftem.unmixing.anchors import Absent
from siftem.unmixing.subtract import subtract
from siftem.xray.k_factors import k_factor_alpha

hs = pytest.importorskip("hyperspy.api")
pytest.importorskip("exspy")

BRG = {"O": 0.466, "Mg": 0.207, "Al": 0.026, "Si": 0.252, "Ca": 0.004, "Fe": 0.045}
FP = {"O": 0.348, "Mg": 0.430, "Al": 0.003, "Fe": 0.219}


@pytest.fixture(scope="module")
def pure(maker):
    matrix, grain = maker.expected(BRG, 3e6), maker.expected(FP, 1e6)
    rng = np.random.default_rng(0)
    return subtract(
        maker.spectrum(rng.poisson(grain + 0.4 * matrix).astype(float), "Fp + Brg"),
        maker.spectrum(rng.poisson(matrix).astype(float), "Brg"),
        anchor=Absent("Si"), elements=list(BRG), calibration=maker.calibration, name="Fp",
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("road", ["signal", "emsa"])
def test_quantified_by_exspy(maker, pure, tmp_path, road):
    if road == "signal":
        signal = to_hyperspy(pure)
    else:
        write_emsa(tmp_path / "Fp.msa", pure)
        signal = hs.load(tmp_path / "Fp.msa", signal_type="EDS_TEM")
    assert signal._signal_type == "EDS_TEM"
    assert signal.metadata.Acquisition_instrument.TEM.beam_energy == 200.0
    # The lines that an EMSA file can't name, and a resolution it has no field for.
    signal.set_elements(["Fe", "Mg"])
    signal.set_lines(["Fe_Ka", "Mg_Ka"])
    signal.set_microscope_parameters(beam_energy=200.0, energy_resolution_MnKa=130.0)
    background = signal.estimate_background_windows(line_width=[5.0, 2.0])
    intensities = signal.get_lines_intensity(background_windows=background)
    names = [i.metadata.Sample.xray_lines[0] for i in intensities]
    k = [k_factor_alpha(n.split("_")[0], "K", 200.0, reference=("Mg", "K")) for n in names]
    # eXSpy's k-factors hold the detector's efficiency, equal for Fe and close to 1 for Mg.
    atoms = signal.quantification(intensities, "CL", factors=k, composition_units="atomic")
    theirs = {n: float(a.data[0]) for n, a in zip(names, atoms, strict=True)}
    ours = quantify(pure, list(BRG), calibration=maker.calibration, warn_above=None)
    expected = 100 * ours.ratio("Mg/(Mg+Fe)").value
    true = 0.430 / 24.305 / (0.430 / 24.305 + 0.219 / 55.845)
    assert expected == pytest.approx(100 * true, rel=0.01)
    # Windows leave out the peaks' tails and take in the neighbours': a few percent.
    assert theirs["Mg_Ka"] == pytest.approx(expected, rel=0.03)
    assert sum(theirs.values()) == pytest.approx(100)
