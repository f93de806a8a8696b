"""Structural formulas beside those of mineralML and Thermobar, on mineralML's own test data.

    python -m venv referees && referees/bin/pip install --no-deps mineralML Thermobar
    referees/bin/pip install pandas scipy matplotlib scikit-learn statsmodels openpyxl tqdm
    python validation/minerals_referees.py referees/bin/python

The referees run in a Python of their own and are no dependencies. Compared are cations per
formula unit with all iron Fe2+ (Fe3+ where the referee parts it as Droop 1987), wherever both
have the group; what is left is their rounding of molar masses.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

from siftem.minerals.structural_formula import Analysis, structural_formula

ANALYSES = Path(__file__).with_name("mineral_analyses.csv")
#: mineralML's calculator of each analysis, and where it keeps Fe3+.
MINERALML = {
    "Alkali_Feldspar": "Feldspar", "Amphibole": "Amphibole", "Apatite": "Apatite",
    "Biotite": "Biotite", "Calcite": "Carbonate", "Chlorite": "Chlorite",
    "Clinopyroxene": "Clinopyroxene", "Epidote": "Epidote", "Garnet": "Garnet",
    "Hematite": "RhombohedralOxide", "Ilmenite": "RhombohedralOxide", "Kalsilite": "Kalsilite",
    "Leucite": "Leucite", "Magnetite": "Spinel", "Melilite": "Melilite",
    "Muscovite": "Muscovite", "Na-Pyroxene": "Clinopyroxene", "Nepheline": "Nepheline",
    "Olivine": "Olivine", "Orthopyroxene": "Orthopyroxene", "Plagioclase": "Feldspar",
    "Quartz": "Quartz", "Rutile": "Rutile", "Serpentine": "Serpentine", "Spinel": "Spinel",
    "Titanite": "Titanite",
}  # fmt: skip
#: Oxygens for which mineralML calculates where ours differ (it counts OH and F in apatite).
OXYGENS = {
    "Apatite": 13.0, "Chlorite": 14.0, "Epidote": 12.5, "Kalsilite": 4.0, "Leucite": 6.0,
    "Melilite": 7.0, "Nepheline": 32.0, "Quartz": 2.0, "Rutile": 2.0, "Serpentine": 14.0,
    "Titanite": 5.0,
}  # fmt: skip
#: Of some all iron is ferric there.
FERRIC = ("Epidote", "Titanite")
#: Of these mineralML scales to the cations and parts iron before it tells the ions.
BALANCED = ("Garnet", "Hematite", "Ilmenite", "Magnetite", "Spinel")

#: Runs in the referees' Python: rows of oxides in, cations out.
_CHILD = """
import json, sys, types, importlib, importlib.util, os, warnings
import pandas as pd
warnings.simplefilter("ignore")
given = json.load(sys.stdin)
# Their calculators alone: the whole package loads a neural network.
where = os.path.dirname(importlib.util.find_spec("Thermobar").origin)
for name in ("mineralML",):
    package = types.ModuleType(name)
    package.__path__ = [os.path.join(os.path.dirname(where), name)]
    sys.modules[name] = package
mm = importlib.import_module("mineralML.stoichiometry")
out = {"mineralML": {}, "Thermobar": {}}
for row in given:
    oxides = {("FeOt" if k == "FeO" else k): v for k, v in row["oxides"].items()}
    found = getattr(mm, row["calculator"] + "Calculator")(pd.DataFrame([oxides]))
    found = found.calculate_components().iloc[0]
    keep = {k: float(v) for k, v in found.items()
            if "_cat_" in k or k.endswith("13cat_ridolfi_norm") or k == "Fe3_calc_ridolfi"}
    out["mineralML"][row["mineral"]] = keep
sys.modules.pop("mineralML")
package = types.ModuleType("Thermobar")
package.__path__ = [where]
sys.modules["Thermobar"] = package
core = importlib.import_module("Thermobar.core")
calls = {"Garnet": ("_Gt", core.calculate_garnet_components),
         "Clinopyroxene": ("_Cpx", core.calculate_clinopyroxene_components),
         "Na-Pyroxene": ("_Cpx", core.calculate_clinopyroxene_components),
         "Orthopyroxene": ("_Opx", core.calculate_orthopyroxene_components),
         "Amphibole": ("_Amp", core.calculate_13cations_amphibole_ridolfi)}
oxides_of = ("SiO2", "TiO2", "Al2O3", "FeOt", "MnO", "MgO", "CaO", "Na2O", "K2O", "Cr2O3")
for row in given:
    if row["mineral"] in calls:
        suffix, call = calls[row["mineral"]]
        oxides = {o + suffix: row["oxides"].get("FeO" if o == "FeOt" else o, 0.0)
                  for o in oxides_of}
        if suffix == "_Amp":
            oxides |= {"F_Amp": 0.0, "Cl_Amp": 0.0, "Sample_ID_Amp": 1}
        if suffix == "_Gt":
            oxides |= {"Ni_Gt": 0.0}
        found = call(pd.DataFrame([oxides])).iloc[0]
        out["Thermobar"][row["mineral"]] = {
            k: float(v) for k, v in found.items() if isinstance(v, (int, float))}
print(json.dumps(out))
"""


def analyses() -> list[dict]:
    """Rows of the table: mineral, group, oxides that were measured."""
    lines = [x for x in ANALYSES.read_text(encoding="utf-8").splitlines() if not x.startswith("#")]
    rows = []
    for row in csv.DictReader(lines):
        oxides = {k: float(v) for k, v in row.items() if k not in ("mineral", "group") and v}
        rows.append({"mineral": row["mineral"], "group": row["group"], "oxides": oxides})
    return rows


def ours(row: dict, iron: str | None, oxygens: float | None) -> dict[str, float]:
    """Cations of a formula unit by siftem."""
    analysis = Analysis.from_oxides(row["oxides"], name=row["mineral"])
    found = structural_formula(analysis, row["group"], oxygens=oxygens, iron=iron, draws=100)
    return {ion: e.value for ion, e in found.ions.items()}


def mineralml_cations(row: dict, found: dict[str, float]) -> dict[str, float]:
    """The same cations as mineralML names them."""
    if row["mineral"] == "Amphibole":
        end = "_13cat_ridolfi_norm"
        ions = {k.removesuffix(end): v for k, v in found.items() if k.endswith(end)}
        ferric = found["Fe3_calc_ridolfi"]
        return ions | {"Fe3+": ferric, "Fe2+": ions.pop("Fe2t") - ferric}
    ions = {k.split("_cat_")[0]: v for k, v in found.items()}
    if "Fe3" in ions:
        iron = {"Fe2+": ions["Fe2"], "Fe3+": ions["Fe3"]}
        # Their other ions are left as they were with all Fe2+.
        if row["mineral"] in ("Hematite", "Ilmenite"):
            return {"Fe3+": ions["Fe3"]}
        return {k: v for k, v in ions.items() if k not in ("Fe2t", "Fe2", "Fe3")} | iron
    if row["mineral"] == "Calcite":  # as much CO2 as four of the cations need is added there
        ions.pop("C")
        ions = {k: v / sum(ions.values()) for k, v in ions.items()}
    charges = {"Fe2t": "Fe2+", "Fe3t": "Fe3+"}
    return {charges.get(k, k): v for k, v in ions.items()}


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(f"give the referees' Python: {__doc__}")
    rows = analyses()
    asked = [r | {"calculator": MINERALML[r["mineral"]]} for r in rows if r["mineral"] in MINERALML]
    done = subprocess.run(
        [sys.argv[1], "-c", _CHILD], input=json.dumps(asked), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the referees failed: {done.stderr[-2000:]}")
    referees = json.loads(done.stdout.splitlines()[-1])
    print("| mineral | group | referee | cations | largest difference |")
    print("|---|---|---|---|---|")
    for row in rows:
        name = row["mineral"]
        if name not in MINERALML:
            continue
        balanced = name in BALANCED or name == "Amphibole"
        iron = "balance" if balanced else "3+" if name in FERRIC else "2+"
        mine = ours(row, iron, OXYGENS.get(name))
        told(row, "mineralML", mine, mineralml_cations(row, referees["mineralML"][name]))
        theirs = referees["Thermobar"].get(name)
        if theirs is not None:
            mine = ours(row, "balance" if name == "Amphibole" else "2+", None)
            told(row, "Thermobar", mine, thermobar_cations(name, theirs))


def thermobar_cations(name: str, found: dict[str, float]) -> dict[str, float]:
    """The same cations as Thermobar names them."""
    end = {"Garnet": "_Gt_Cat", "Orthopyroxene": "_Opx_cat_6ox", "Amphibole": "_Amp_13_cat"}
    own = end.get(name, "_Cpx_cat_6ox")
    ions = {k.removesuffix(own): v for k, v in found.items() if k.endswith(own)}
    iron = [k for k in ions if k.startswith("Fe")]
    return {k: v for k, v in ions.items() if k not in iron} | {"Fe": sum(ions[k] for k in iron)}


def told(row: dict, referee: str, mine: dict[str, float], theirs: dict[str, float]) -> None:
    if "Fe" in theirs:
        mine = mine | {"Fe": mine.get("Fe2+", 0.0) + mine.get("Fe3+", 0.0)}
    common = [ion for ion in mine if ion in theirs and theirs[ion] == theirs[ion]]
    if not common:
        print(f"| {row['mineral']} | {row['group']} | {referee} | none in common: {theirs} | |")
        return
    worst = max(common, key=lambda ion: abs(mine[ion] - theirs[ion]))
    print(f"| {row['mineral']} | {row['group']} | {referee} | {len(common)} | "
          f"{worst} {mine[worst]:.4f} / {theirs[worst]:.4f} |")  # fmt: skip


if __name__ == "__main__":
    main()
