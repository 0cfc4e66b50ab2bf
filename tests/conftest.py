"""Fixtures and profiles that every test module shares; builders and hypothesis strategies are in `strategies.py`."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline: the first example compiles, and CI machines are busy. `--hypothesis-profile=thorough` for a long look.
settings.register_profile("quick", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=3000)
settings.load_profile("quick")

# The longest files come first, so that none of them is begun when the others are done.
LONGEST = (
    "test_drill.py", "02_optimization.ipynb", "test_live_command.py", "test_live_resting_crash.py", "test_pipeline.py",
    "test_live_crash.py", "03_backtest_report.ipynb", "test_download_local.py", "test_backtest.py",
)  # fmt: skip
RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def _own_locks(tmp_path_factory):
    """Runners of these tests leave no lock in a home, and know nothing of those of other test runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def recording():
    """Path of a real recording by its file name; the test is skipped where the recordings are not at hand."""

    def find(name: str) -> Path:
        if not (RECORDINGS / name).exists():
            pytest.skip(f"the recording {name} is not here (looked beside the project, in ../shared/data)")
        return RECORDINGS / name

    return find
