import pytest
from made_up_map import build_case


@pytest.fixture(scope="session")
def case():
    return build_case()
