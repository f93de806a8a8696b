import json

from benchmarks.road import answers_in, farthest


def test_answers_are_compared_in_units_of_their_errors(tmp_path):
    element = {"at_percent": 12.0, "at_sigma": 0.5}
    summary = {
        "phases": {"A": {"elements": {"Mg": element, "Si": {"at_percent": 3.0}}}, "B": {}},
        "unmixing": {"phases": {"A": {"elements": {"Mg": {**element, "at_percent": 11.0}}}}},
    }
    file = tmp_path / "summary.json"
    file.write_text(json.dumps(summary))
    answers = answers_in(file)
    # What has no error was not measured.
    assert answers == {"A Mg": (12.0, 0.5), "unmixed A Mg": (11.0, 0.5)}
    stored = {"A Mg": [12.04, 0.5], "unmixed A Mg": [11.0, 0.5]}
    assert farthest(answers, stored) is None
    assert "A Mg is 12 and not 12.2 at%" in farthest(answers, {**stored, "A Mg": [12.2, 0.5]})
    assert "unmixed A Mg" in farthest(answers, {"A Mg": [12.0, 0.5]})
