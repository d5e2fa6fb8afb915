"""A ward: no test writes into the state folder of whoever runs it."""

from collections.abc import Iterator

import pytest

from wingbeat.limitbook import FOLDER_VARIABLE


@pytest.fixture(autouse=True, scope="session")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A state folder for the session; suites that ask services by URL take one for each test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("state")))
        yield
