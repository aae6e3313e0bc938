"""Each checker of house.py finds what it is for in a small source, and nothing in a clean one."""

from __future__ import annotations

import textwrap

import pytest

from house import (
    FUNCTION_LINES_MAX,
    LINE_COLUMNS_MAX,
    MODULE_LINES_MAX,
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


def module(source: str, path: str = "server/vectorbucket_server/place.py") -> Module:
    """Return an inline source as a module."""
    return Module(path, textwrap.dedent(source))


CLEAN = module('''
    """A module.

    Rules of this file: it breaks none.
    """

    def distances(rows: int) -> int:
        """Return the rows."""
        try:
            return rows
        except ValueError:
            raise
''')


@pytest.mark.parametrize(
    "checker",
    [
        oversized,
        without_rules,
        undocumented,
        badly_named_modules,
        forbidden_words,
        unowned_promises,
        not_sentences,
        broad_handlers,
        engine_kinds_asked,
    ],
)
def test_clean_module_has_no_findings(checker: object) -> None:
    assert callable(checker)
    assert checker([CLEAN]) == []


def test_module_knows_its_dotted_name() -> None:
    assert module("").name == "vectorbucket_server.place"
    assert module("", "client/vectorbucket/__init__.py").name == "vectorbucket"


def test_tree_is_read_without_generated_code() -> None:
    paths = [one.path for one in read_modules("client")]
    assert "client/vectorbucket/errors.py" in paths
    assert not [path for path in paths if "_pb2" in path]


def test_module_of_one_line_too_many_is_found() -> None:
    assert oversized([module("a = 1\n" * MODULE_LINES_MAX)]) == []
    assert oversized([module("a = 1\n" * (MODULE_LINES_MAX + 1))]) == [
        f"server/vectorbucket_server/place.py has {MODULE_LINES_MAX + 1} lines"
    ]


def test_function_of_one_line_too_many_is_found_with_its_decorator() -> None:
    def source(lines: int) -> Module:
        return module("@wrap\ndef long():\n" + "    a = 1\n" * (lines - 2))

    assert [function_lines(one) for one in functions(source(9))] == [9]
    assert oversized([source(FUNCTION_LINES_MAX)]) == []
    assert oversized([source(FUNCTION_LINES_MAX + 1)]) == [
        f"server/vectorbucket_server/place.py:2 long has {FUNCTION_LINES_MAX + 1} lines"
    ]


def test_line_of_one_column_too_many_is_found() -> None:
    assert overlong_lines("a.proto", "x" * LINE_COLUMNS_MAX) == []
    assert overlong_lines("a.proto", "\n" + "x" * (LINE_COLUMNS_MAX + 1)) == [
        f"a.proto:2 has {LINE_COLUMNS_MAX + 1} columns"
    ]


def test_words_to_checkers_do_not_widen_a_line() -> None:
    assert overlong_lines("a.py", "x" * LINE_COLUMNS_MAX + "  # type: ignore[misc]  # why") == []


@pytest.mark.parametrize("source", ["", '"""A module without rules."""'])
def test_module_without_rules_is_found(source: str) -> None:
    assert len(without_rules([module(source)])) == 1


def test_everything_public_without_docstring_is_found() -> None:
    found = undocumented(
        [
            module("""
            def visible(): ...
            def _hidden(): ...
            class Shown:
                def method(self): ...
                def _private(self): ...
                @overload
                def variant(self): ...
            class _Inner:
                def unseen(self): ...
        """)
        ]
    )
    assert [line.rpartition("place.py")[2] for line in found] == [
        " has no docstring",
        ":2 visible has no docstring",
        ":4 Shown has no docstring",
        ":5 method has no docstring",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "server/vectorbucket_server/utils.py",
        "client/vectorbucket/_helpers.py",
        "server/vectorbucket_server/logging.py",
        "server/vectorbucket_server/ast/parser.py",
        "tests/common.py",
    ],
)
def test_module_that_says_nothing_or_shadows_the_standard_library_is_found(path: str) -> None:
    assert len(badly_named_modules([module("", path)])) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def similarity(): ...",
        "def find(payload): ...",
        "class IndexSnapshot: ...",
        "best_dims = 1",
        "for similarity in []: ...",
        "PAYLOADS = ()",
        "async def collection_of(): ...",
    ],
)
def test_word_of_other_systems_is_found_where_it_is_defined(source: str) -> None:
    assert len(forbidden_words([module(source)])) == 1


@pytest.mark.parametrize("source", ["store.snapshot()", "dimsum = 1", "collectionless = 2"])
def test_word_is_let_pass_where_it_is_not_ours_or_not_a_word(source: str) -> None:
    assert forbidden_words([module(source)]) == []


def test_promise_without_issue_is_found_in_comments_only() -> None:
    found = unowned_promises(
        [
            module("""
            a = "TODO in a text"
            b = 1  # TODO(#12): grow
            c = 2  # TODO: grow
            # FIXME
        """)
        ]
    )
    assert found == [
        "server/vectorbucket_server/place.py:4 # TODO: grow",
        "server/vectorbucket_server/place.py:5 # FIXME",
    ]


def test_test_with_too_short_a_name_is_found() -> None:
    source = """
        def test_filter(): ...
        def test_round_trip(): ...
        def test_empty_filter_matches_everything(): ...
        def helper(): ...
    """
    assert not_sentences([module(source)]) == ["server/vectorbucket_server/place.py:2 test_filter"]


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.environ['A']",
        "import os\nos.environ.get('A')",
        "import os as system\nprint(system.environ)",
        "from os import environ",
        "from os import environ as surroundings\nsurroundings['A']",
        "import os.environ",
    ],
)
def test_use_is_found_however_it_was_imported(source: str) -> None:
    assert uses([module(source)], {"os.environ"})


@pytest.mark.parametrize("source", ["import os\nos.path.join('a')", "environ = {}\nenviron['A']"])
def test_use_of_another_name_is_no_finding(source: str) -> None:
    assert uses([module(source)], {"os.environ"}) == []


def test_use_of_a_builtin_is_found_once_where_it_stands() -> None:
    assert uses([module("a = 1\nprint(a)")], {"print"}) == [
        "server/vectorbucket_server/place.py:2 print"
    ]


@pytest.mark.parametrize(
    "clause",
    [
        "except:",
        "except Exception:",
        "except BaseException as error:",
        "except (OSError, Exception):",
    ],
)
def test_handler_that_swallows_everything_is_found(clause: str) -> None:
    source = f"try:\n    a = 1\n{clause}\n    a = 2\n"
    assert len(broad_handlers([module(source)])) == 1


def test_handler_that_raises_again_swallows_nothing() -> None:
    source = "try:\n    a = 1\nexcept BaseException:\n    a = 2\n    raise\n"
    assert broad_handlers([module(source)]) == []


def test_handler_that_raises_something_else_is_found() -> None:
    source = "try:\n    a = 1\nexcept Exception:\n    raise ValueError\n"
    assert len(broad_handlers([module(source)])) == 1


def test_question_which_engine_it_is_is_found() -> None:
    source = "isinstance(engine, EmbeddedEngine)\nisinstance(engine, (int, memory.MemoryEngine))"
    assert len(engine_kinds_asked([module(source)])) == 2
    assert engine_kinds_asked([module("isinstance(engine, int)")]) == []
