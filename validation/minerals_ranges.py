"""Names of analyses from which the table's ranges were not made.

    python -m validation.minerals_ranges

The analyses by oxides of mineralML's own tests (``mineral_analyses.csv``), with errors of 0.3
weight percent each, among rock-forming and ore minerals: what each is called by its authors, and by
the table. O of such an analysis was not measured, so that OH, carbonate and the charge of iron say
nothing: calcite and lime, haematite and magnetite are alike.
"""

from __future__ import annotations

from validation.minerals_referees import analyses

import siftem

SIGMA = 0.3


def main() -> None:
    print("| analysis | names | none of these | sigma |\n|---|---|---|---|")
    for row in analyses():
        analysis = siftem.Analysis.from_oxides(row["oxides"], sigma=SIGMA, name=row["mineral"])
        found = siftem.identify(analysis, settings=["rock", "ore"])
        named = ", ".join(f"{c.name} {100 * c.probability:.0f}%" for c in found.candidates[:3])
        print(
            f"| {row['mineral']} | {named} | {100 * found.none:.0f}% | "
            f"{found.candidates[0].distance:.1f} |"
        )


if __name__ == "__main__":
    main()
