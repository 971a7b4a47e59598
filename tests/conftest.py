"""Folders that tests may read besides the repository; a test that needs one skips, saying so, without it."""

import gc
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from _pytest.assertion import rewrite
from hypothesis import HealthCheck, settings

# Other programs may run beside the tests: no example fails because it took long.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Modules and test items stay to the end. A search for garbage among them took a third of the collection of tests.
gc.disable()

ROOT = Path(__file__).resolve().parents[1]

LONGEST = (
    "test_crash_points", "test_ray", "test_page_browser", "test_killed", "test_devices",
    "test_page_masks", "test_fusion_jobs", "test_generate_shots", "test_known_shots",
    "test_lent_devices", "test_many", "test_nuke_mask_node", "test_nuke_void", "test_benchmarks",
    "test_void_jobs", "test_void_autoencoder_kernels", "test_commands", "test_disturbances",
    "test_out_of_memory", "test_network", "test_wild_shots",
)  # fmt: skip
"""Modules that take 20 s and more. One of them alone at the end keeps the others waiting."""


def pytest_configure(config: pytest.Config) -> None:
    """In a fresh clone each worker of xdist rewrites the asserts of a part of the modules, and reads the others.

    Without it each rewrites all of them, for 5 s. pytest has no door for it: where its inside is another, nothing
    is done.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    modules = {path.resolve() for folder in config.args for path in Path(folder).rglob("test_*.py")}
    for path in sorted(modules)[int(worker["workerid"][2:]) :: worker["workercount"]]:
        with suppress(AttributeError, OSError, TypeError, ValueError):
            kept = rewrite.get_cache_dir(path) / (path.stem + rewrite.PYC_TAIL)
            if not kept.exists() and rewrite.try_makedirs(kept.parent):
                source, code = rewrite._rewrite_test(path, config)
                rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source, kept)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules go first, if xdist leaves the order as it is (--no-loadscope-reorder)."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


def pytest_collection_finish() -> None:
    """From here on garbage is looked for among the objects of tests alone, after more of them."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


def pytest_runtest_teardown() -> None:
    if stage := sys.modules.get("voidbridge_stage"):
        stage.Going.end_all()


def pytest_unconfigure() -> None:
    """At the end some libraries report what was not taken apart."""
    gc.unfreeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    shared = ROOT.parent / "shared"
    parser.addoption(
        "--golden", type=Path, default=shared / "golden", help="stored reference outputs"
    )
    parser.addoption(
        "--samples", type=Path, default=shared / "samples", help="4K clips with quadmasks"
    )
    parser.addoption(
        "--cases", type=Path, default=shared / "cases", help="make.py of small shots with a truth"
    )
    parser.addoption("--exr", type=Path, default=shared / "exr", help="EXR files from the wild")
    parser.addoption(
        "--full", action="store_true", help="faults in the numbers of docs/reliability.md: hours"
    )


def _folder(request: pytest.FixtureRequest, option: str) -> Path:
    folder = Path(request.config.getoption(option)).resolve()
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here; name another folder with {option}")
    return folder


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Path:
    return _folder(request, "--golden")


@pytest.fixture(scope="session")
def samples(request: pytest.FixtureRequest) -> Path:
    return _folder(request, "--samples")


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> Path:
    return _folder(request, "--cases")


@pytest.fixture(scope="session")
def wild_exr(request: pytest.FixtureRequest) -> Path:
    return _folder(request, "--exr")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether tests that break things do so as often as the page says that they did."""
    return bool(request.config.getoption("--full"))
