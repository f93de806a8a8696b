import pytest
from made_up_run import build_run


@pytest.fixture(scope="session")
def made_run():
    return build_run()
