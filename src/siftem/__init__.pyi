"""Types of what the package imports on first use; see ``__init__.py``."""

from siftem.acquisition import Acquisition as Acquisition
from siftem.batch.run import run_batch as run_batch
from siftem.cluster.open_map import open_map as open_map
from siftem.decompose.factors import Factors as Factors
from siftem.decompose.factors import decompose as decompose
from siftem.decompose.kinds import count_kinds as count_kinds
from siftem.decompose.matching import Markers as Markers
from siftem.decompose.matching import match_phases as match_phases
from siftem.decompose.poisson_nmf import PoissonNMF as PoissonNMF
from siftem.decompose.rank import choose_n_components as choose_n_components
from siftem.decompose.together import decompose_together as decompose_together
from siftem.eels.background import remove_background as remove_background
from siftem.eels.edges import Edge as Edge
from siftem.eels.noise import NoiseModel as NoiseModel
from siftem.eels.noise import as_counts as as_counts
from siftem.eels.noise import estimate_noise as estimate_noise
from siftem.eels.ratios import elemental_ratios as elemental_ratios
from siftem.eels.subtract import AbsentEdge as AbsentEdge
from siftem.eels.subtract import EdgeRatio as EdgeRatio
from siftem.eels.subtract import subtract_by_edges as subtract_by_edges
from siftem.energy_axis import EnergyAxis as EnergyAxis
from siftem.errors import Cancelled as Cancelled
from siftem.errors import DoubtWarning as DoubtWarning
from siftem.errors import InputError as InputError
from siftem.errors import SiftemError as SiftemError
from siftem.errors import SiftemWarning as SiftemWarning
from siftem.fit.element_search import find_elements as find_elements
from siftem.fit.null_elements import null_elements as null_elements
from siftem.fit.spectrum_model import Calibration as Calibration
from siftem.io.contents import list_signals as list_signals
from siftem.io.convert import convert as convert
from siftem.io.example import fetch_71gpa as fetch_71gpa
from siftem.io.fit_checkpoint import FitCheckpoint as FitCheckpoint
from siftem.io.hyperspy_bridge import from_hyperspy as from_hyperspy
from siftem.io.hyperspy_bridge import load as load
from siftem.io.hyperspy_export import to_hyperspy as to_hyperspy
from siftem.io.region_sums import sum_spectra as sum_spectra
from siftem.minerals.analysis import Analysis as Analysis
from siftem.minerals.identification import identify as identify
from siftem.minerals.joint_calibration import calibrate_jointly as calibrate_jointly
from siftem.minerals.lattice_strain import lattice_strain as lattice_strain
from siftem.minerals.structural_formula import structural_formula as structural_formula
from siftem.minerals.thickness import thickness_map as thickness_map
from siftem.pipeline.opened_run import open_run as open_run
from siftem.pipeline.recipe import Recipe as Recipe
from siftem.pipeline.run import run as run
from siftem.pipeline.workflow import Workflow as Workflow
from siftem.quantify.charge_balance import (
    thickness_from_charge_balance as thickness_from_charge_balance,
)
from siftem.quantify.composition import Composition as Composition
from siftem.quantify.composition import quantify as quantify
from siftem.quantify.k_values import GivenKFactors as GivenKFactors
from siftem.quantify.line_ratios import line_ratios as line_ratios
from siftem.quantify.zeta import ZetaFactors as ZetaFactors
from siftem.report.folder import write_results as write_results
from siftem.segment.classifier import PixelClassifier as PixelClassifier
from siftem.segment.graph_cut import graph_cut as graph_cut
from siftem.segment.regions import Regions as Regions
from siftem.segment.smoothness import suggest_smoothness as suggest_smoothness
from siftem.simulate.elnes import simulate_elnes as simulate_elnes
from siftem.simulate.phantom import simulate_demo as simulate_demo
from siftem.spectrum import Spectrum as Spectrum
from siftem.spectrum_image import SpectrumImage as SpectrumImage
from siftem.unmix.anchors import Absent as Absent
from siftem.unmix.anchors import GivenScale as GivenScale
from siftem.unmix.anchors import KnownRatio as KnownRatio
from siftem.unmix.anchors import MostMatrix as MostMatrix
from siftem.unmix.anchors import Stoichiometry as Stoichiometry
from siftem.unmix.constrained import unmix as unmix
from siftem.unmix.integrate import integrate as integrate
from siftem.unmix.subtract import subtract as subtract
from siftem.unmix.weighted import weighted_mixtures as weighted_mixtures
from siftem.xray.detector import Detector as Detector

__version__: str
