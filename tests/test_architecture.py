"""The house's tidy: floors, sizes, names, docstrings, and who may do what others may not.

Method: the checkers stand in house.py and floors.py and are tested there on sources that break the
rules; here they run over the whole tree. An exception is a line in a table below, with its reason.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache

import pytest

from floors import far_from_home, is_below, orphans, strangers, wrong_arrows
from house import (
    ROOT,
    Module,
    badly_named_modules,
    broad_handlers,
    engine_kinds_asked,
    forbidden_words,
    function_lines,
    functions,
    not_sentences,
    overlong_lines,
    oversized,
    read_modules,
    undocumented,
    unowned_promises,
    uses,
    without_rules,
)

TEST_LINES_PER_SOURCE_LINE_MIN = 1.2
MODULE_LINES_MEDIAN_MAX = 250
FUNCTION_LINES_MEDIAN_MAX = 16

SERVER = "vectorbucket_server"

HOMES = {
    "rocksdict": (f"{SERVER}.engine.embedded.rocks",),
    "hnswlib": (f"{SERVER}.engine.embedded.graph",),
    "simsimd": (f"{SERVER}.engine.embedded.codes",),
    "threadpoolctl": (f"{SERVER}.engine.embedded.engine",),
    "pymilvus": (f"{SERVER}.engine.milvus",),
    "typer": (f"{SERVER}.cli", f"{SERVER}.disk_commands", "vectorbucket.cli"),
    "pydantic_settings": (f"{SERVER}.settings", f"{SERVER}.door_settings"),
    "pyarrow": ("vectorbucket.cli",),
    "prometheus_client": (f"{SERVER}.observability.metrics", f"{SERVER}.metrics_listener"),
    "opentelemetry": (f"{SERVER}.observability.tracing",),
    "grpc_health": (f"{SERVER}.service", f"{SERVER}.grpc_listener", "vectorbucket._operations"),
    "grpc_reflection": (f"{SERVER}.grpc_listener",),
    "simdjson": (f"{SERVER}.rest.oss.bodies",),
    "orjson": (f"{SERVER}.rest.oss.replies", f"{SERVER}.engine.milvus.rows"),
    "uvicorn": tuple(f"{SERVER}.rest.{name}" for name in ("exchange", "http_server", "listener")),
    "starlette": (f"{SERVER}.rest.app",),
    "uvloop": (f"{SERVER}.translate",),
    "structlog": (f"{SERVER}.observability.logs",),
    "grpc": (
        *(
            f"{SERVER}.{name}"
            for name in ("service", "auth", "observability", "rest", "app", "grpc_listener", "tls")
        ),
        # Milvus is called by gRPC, and its client lets failures of that through.
        *(f"{SERVER}.engine.milvus.{name}" for name in ("connection", "failures")),
        "vectorbucket",
    ),
}
"""Packages that only one place knows, so that it alone changes when they do."""

PURE = (
    f"{SERVER}.model",
    f"{SERVER}.naming",
    f"{SERVER}.filters",
    f"{SERVER}.auth.actions",
    f"{SERVER}.auth.policy",
    f"{SERVER}.auth.signature_v4",
    f"{SERVER}.auth.statement",
    *(
        f"{SERVER}.rest.oss.{name}"
        for name in (
            "bodies",
            "bucket_settings",
            "buckets",
            "conversion",
            "errors",
            "hosts",
            "indexes",
            "metadata",
            "reader",
            "replies",
            "routes",
            "vectors",
            "words",
        )
    ),
    "vectorbucket._batching",
    "vectorbucket._retry",
    "vectorbucket.errors",
    "vectorbucket.limits",
)
"""Rooms without time, network and threads: what they answer depends on what they are asked."""

IMPURITIES = frozenset({"socket", "grpc", "time", "threading", "asyncio", "os", "subprocess"})

PLACES: Mapping[frozenset[str], Mapping[str, str]] = {
    frozenset({"os.environ", "os.getenv", "os.putenv"}): {
        f"{SERVER}.settings": "the only reader of the environment",
        f"{SERVER}.fork_support": "switches off gRPC's handlers of forks before grpc reads it",
    },
    frozenset({"sys.argv"}): {f"{SERVER}.cli": "the only reader of the command line"},
    frozenset({"sys.exit", "os._exit", "SystemExit", "exit", "quit", "typer.Exit"}): {
        f"{SERVER}.cli": "the only one to choose an exit code",
        f"{SERVER}.__main__": "hands on what the command line chose",
        "vectorbucket.cli": "the command line of users, by its own table of exit codes",
        f"{SERVER}.engine.embedded.forked": "a child must not do what its parent does at its end",
    },
    frozenset({"time.time", "time.time_ns", "datetime.datetime.now", "datetime.datetime.utcnow"}): {
        f"{SERVER}.app": "gives the clock to whoever needs one",
        f"{SERVER}.grpc_listener": "gives it to the servicers",
        f"{SERVER}.translate": "the same, in the translator's process",
    },
    frozenset({"random", "secrets", "os.urandom", "uuid.uuid4", "uuid.uuid1", "numpy.random"}): {
        "vectorbucket._caller": "gives chance to the client's retries and ids to its streams",
        f"{SERVER}.app": "gives ends to the names of log files",
        f"{SERVER}.translate": "gives ids to calls",
        f"{SERVER}.auth.api_keys": "keys are nothing but chance",
        f"{SERVER}.auth.new_credential": "the same for access keys",
        f"{SERVER}.engine.milvus.catalogue": "gives chance to claims, which are told apart by it",
    },
    frozenset({"print", "breakpoint", "pickle", "marshal", "shelve", "eval", "exec"}): {},
}
"""What only some modules may use, by dotted names, and why those may."""

BROAD_HANDLERS = {
    f"{SERVER}.engine.embedded.forked": "what fails in a child is sent to its parent, and raised",
    f"{SERVER}.engine.embedded.store": "rocksdict raises bare Exception; it becomes ours, by place",
    f"{SERVER}.engine.embedded.rocks": "the same, when it is opened and let go of",
    f"{SERVER}.observability.metrics": "a scrape says what it can, whatever the engine fails with",
    f"{SERVER}.service.call_scope": "the outermost: what nobody foresaw becomes InternalError",
    f"{SERVER}.rest.app": "the outermost of REST: the same",
}

ENTRIES = {
    f"{SERVER}.cli": "the command that pyproject.toml names",
    f"{SERVER}.__main__": "python -m",
    "vectorbucket.cli": "the command that pyproject.toml names",
    "vectorbucket.cli.__main__": "python -m",
    "vectorbucket._version": "read by pyproject.toml",
}

TESTED_ELSEWHERE: dict[str, str] = {
    f"{SERVER}.engine.base": "tests/engines/test_promises.py",
    f"{SERVER}.engine.memory": "tests/engines/test_promises.py",
}
"""Modules whose tests have a better place than the mirrored one."""


@cache
def source() -> tuple[Module, ...]:
    """Return the modules of client and server."""
    return tuple(read_modules("client", "server"))


@cache
def scripts() -> tuple[Module, ...]:
    return tuple(read_modules("scripts"))


@cache
def written_tests() -> tuple[Module, ...]:
    return tuple(read_modules("tests"))


@pytest.fixture(autouse=True, scope="module")
def _release() -> Iterator[None]:
    """Give back the parsed trees at the end: a million objects, which slow down what follows."""
    yield
    for read in (source, scripts, written_tests):
        read.cache_clear()


def without(modules: tuple[Module, ...], names: Mapping[str, str]) -> list[Module]:
    """Return the modules that have no line in a table of exceptions."""
    return [module for module in modules if not is_below(module.name, names)]


def has_code(module: Module) -> bool:
    """Return whether a module does anything beside its docstring and imports."""
    return not module.path.endswith("__init__.py") and bool(list(functions(module)))


def test_arrows_point_down() -> None:
    assert wrong_arrows(source()) == []


def test_packages_are_imported_where_they_are_at_home() -> None:
    assert far_from_home(source(), HOMES) == []
    assert strangers(source()) == []


@pytest.mark.parametrize("package", ["rocksdict", "hnswlib", "simsimd", "threadpoolctl"])
def test_engine_package_is_imported_by_exactly_one_module(package: str) -> None:
    importers = {line.partition(":")[0] for line in far_from_home(source(), {package: ()})}
    assert len(importers) == 1


def test_memory_engine_runs_where_the_embedded_ones_packages_are_missing() -> None:
    packages = ["rocksdict", "hnswlib", "pyroaring", "simsimd", "threadpoolctl"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({packages}))\n"
        "import vectorbucket_server.app, vectorbucket_server.engine.memory"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_pure_rooms_know_no_clock_no_network_and_no_threads() -> None:
    pure = [module for module in source() if is_below(module.name, PURE)]
    assert len(pure) > len(PURE)
    assert uses(pure, IMPURITIES) == []


@pytest.mark.parametrize("names", PLACES, ids=min)
def test_what_few_may_use_is_used_by_them_only(names: frozenset[str]) -> None:
    assert uses(without(source(), PLACES[names]), names) == []


def test_nothing_but_the_outermost_interceptor_catches_everything() -> None:
    assert broad_handlers(without(source(), BROAD_HANDLERS)) == []


def test_nobody_asks_which_engine_it_is() -> None:
    assert engine_kinds_asked(source()) == []


def test_exceptions_are_for_modules_that_exist() -> None:
    names = {module.name for module in source()}
    tables = (BROAD_HANDLERS, TESTED_ELSEWHERE, *PLACES.values())
    assert {name for table in tables for name in table} <= names


def test_modules_functions_and_lines_keep_to_their_sizes() -> None:
    assert oversized([*source(), *scripts(), *written_tests()]) == []
    for path in ("scripts/serve", "scripts/test", "scripts/setup", ".ci/run", "pyproject.toml"):
        assert overlong_lines(path, (ROOT / path).read_text()) == []


def test_medians_stay_small(pytestconfig: pytest.Config) -> None:
    modules = [module.line_count for module in source()]
    sizes = [function_lines(one) for module in source() for one in functions(module)]
    medians = statistics.median(modules), statistics.median(sizes)
    tell(
        pytestconfig,
        f"modules: {len(modules)}, median {medians[0]:.0f}, most {max(modules)} lines; "
        f"functions: {len(sizes)}, median {medians[1]:.0f}, most {max(sizes)} lines",
    )
    assert medians[0] <= MODULE_LINES_MEDIAN_MAX
    assert medians[1] <= FUNCTION_LINES_MEDIAN_MAX


def test_tests_are_longer_than_what_they_test(pytestconfig: pytest.Config) -> None:
    tested = sum(module.line_count for module in source())
    tests = sum(module.line_count for module in written_tests())
    tell(pytestconfig, f"tests {tests} : source {tested} lines = {tests / tested:.2f}")
    assert tests >= TEST_LINES_PER_SOURCE_LINE_MIN * tested


def tell(pytestconfig: pytest.Config, text: str) -> None:
    """Show a measure to whoever runs with ``-v``."""
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.verbosity > 0:
        reporter.write_line(f"\n  {text}")


def test_modules_open_with_what_they_are_and_their_rules() -> None:
    small = {"__init__.py", "__main__.py", "_version.py"}
    modules = [one for one in source() if one.path.rpartition("/")[2] not in small]
    shared = [one for one in written_tests() if not one.stem.startswith(("test_", "conftest"))]
    assert without_rules([*modules, *scripts(), *shared]) == []


def test_everything_public_has_a_docstring() -> None:
    assert undocumented([*source(), *scripts()]) == []
    assert [one.path for one in written_tests() if not ast.get_docstring(one.tree)] == []


def test_modules_are_named_after_what_is_inside() -> None:
    assert badly_named_modules([*source(), *scripts(), *written_tests()]) == []


def test_names_are_the_users_words() -> None:
    # There, a collection is what Milvus calls so.
    milvus = "server/vectorbucket_server/engine/milvus/"
    findings = forbidden_words(source())
    assert [one for one in findings if not one.startswith(milvus)] == []
    assert all(one.endswith(("says collection", "says collections")) for one in findings)


def test_promises_in_comments_have_an_issue() -> None:
    assert unowned_promises([*source(), *scripts(), *written_tests()]) == []


def test_no_module_is_an_orphan() -> None:
    programs = [one.name for one in scripts() if 'if __name__ == "__main__":' in one.text]
    assert orphans([*source(), *scripts()], [*ENTRIES, *programs]) == []


def test_no_module_that_tests_share_is_an_orphan() -> None:
    # tests/ is a root of imports, so that a name may stand bare or behind its folder's; a program
    # that a test starts is named by its file.
    readers = "\n".join(module.text for module in written_tests())
    told = readers + (ROOT / "pyproject.toml").read_text()
    shared = [one.stem for one in written_tests() if not one.stem.startswith(("test_", "conftest"))]
    imported = ".".join(re.findall(r"(?:from|import) ([\w.]+)", told)).split(".")
    named = {*imported, *re.findall(r'"-p", "(\w+)"', told), *re.findall(r'(\w+)\.py"', told)}
    assert [name for name in shared if name not in named] == []


def mirrored(module: Module) -> str:
    """Return where the tests of a module belong."""
    top, *parts = module.path.split("/")
    folders, name = parts[:-1], parts[-1].lstrip("_")
    return "/".join(["tests", top, *folders[1:], f"test_{name}"])


def test_mirror_leaves_out_the_package_and_the_underscore() -> None:
    client = Module("client/vectorbucket/_client.py", "")
    server = Module("server/vectorbucket_server/engine/embedded/store.py", "")
    script = Module("scripts/demo.py", "")
    assert mirrored(client) == "tests/client/test_client.py"
    assert mirrored(server) == "tests/server/engine/embedded/test_store.py"
    assert mirrored(script) == "tests/scripts/test_demo.py"


def test_every_module_has_its_test_module() -> None:
    there = {module.path for module in written_tests()}
    assert set(TESTED_ELSEWHERE.values()) <= there
    expected = {
        module.path: TESTED_ELSEWHERE.get(module.name, mirrored(module))
        for module in [*source(), *scripts()]
        if has_code(module)
    }
    assert {path: test for path, test in expected.items() if test not in there} == {}


def test_every_tests_name_is_a_sentence() -> None:
    assert not_sentences(written_tests()) == []


def test_changelog_starts_with_the_version() -> None:
    version = re.search(
        r'__version__ = "(.+)"', (ROOT / "client/vectorbucket/_version.py").read_text()
    )
    heading = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version
    assert heading
    assert heading[1] == version[1]


def test_every_dependency_is_pinned_to_a_version_and_nothing_else() -> None:
    lines = (ROOT / "scripts" / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(one for extra in project["project"]["optional-dependencies"].values() for one in extra),
    ]
    names = {re.split(r"[\[<>=!~ ]", one)[0].lower().replace("_", "-") for one in wanted}
    assert names - {pin.partition("==")[0] for pin in pins} == {"vectorbucket"}


def test_every_rule_that_is_off_says_why() -> None:
    ruff = (ROOT / "pyproject.toml").read_text().partition("[tool.ruff.lint]")[2]
    codes = [line for line in ruff.splitlines() if re.match(r'\s+"[A-Z]+[0-9]*",', line)]
    assert len(codes) > 10
    assert [line for line in codes if not re.search(r"# .{8}", line)] == []


def test_continuous_integration_runs_what_runs_at_home_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ['exec "$(dirname -- "${BASH_SOURCE[0]}")/../scripts/test" "$@"']


@pytest.mark.parametrize("path", ["scripts/serve", "scripts/test", ".ci/run"])
def test_command_can_be_run(path: str) -> None:
    assert (ROOT / path).stat().st_mode & 0o111
