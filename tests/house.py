"""The source tree as values, and the rules of the house that a module keeps or breaks by itself.

Rules of this file: a checker takes modules and returns findings, one line each, so that an inline
source can prove that it finds something; it never imports what it reads; which module may do what
the others may not is said in test_architecture.py, with the reason.

Source: the rules stand in server/ARCHITECTURE.md; the shape follows TigerBeetle's ``tidy.zig``.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parent.parent
"""The top of the checkout."""

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 100

FORBIDDEN_MODULE_NAMES = frozenset({"utils", "util", "helpers", "common", "manager", "misc"})
"""Names that say nothing of what is inside."""

FORBIDDEN_WORDS = frozenset(
    {
        *("collection", "payload", "similarity", "dims", "strategy", "snapshot", "lsn"),
        *("collections", "payloads", "similarities", "strategies", "snapshots"),
    }
)
"""Words for which this program has others, and that mean nothing else in it. More stand in
server/ARCHITECTURE.md; those ("index" for a place in a list, "id", "score" as what one does) have
honest uses too and are left to review."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Findings: TypeAlias = list[str]
"""What breaks a rule, one line each; empty when nothing does."""


@dataclass(frozen=True)
class Module:
    """One Python file."""

    path: str
    """From the top of the checkout, with forward slashes."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed source, once and for all checkers."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of ``tree``, the outer ones first."""
        return tuple(ast.walk(self.tree))

    @property
    def name(self) -> str:
        """The dotted name under which it is imported, for modules of ``client`` and ``server``."""
        parts = self.path.removesuffix(".py").split("/")[1:]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return Path(self.path).stem

    @property
    def line_count(self) -> int:
        """Lines, blank ones and comments included."""
        return len(self.text.splitlines())


def read_modules(*roots: str) -> list[Module]:
    """Return the hand-written modules under these folders of the checkout, by path."""
    return [
        Module(path.relative_to(ROOT).as_posix(), path.read_text())
        for root in roots
        for path in sorted((ROOT / root).rglob("*.py"))
        if "_pb2" not in path.name and "__pycache__" not in path.parts
    ]


def functions(module: Module) -> Iterator[Function]:
    """Yield every function and method of the module, nested ones too."""
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def function_lines(function: Function) -> int:
    """Return how many lines a function takes, its decorators and docstring included."""
    first = min([function.lineno, *(one.lineno for one in function.decorator_list)])
    return (function.end_lineno or first) - first + 1


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for an attribute of a name, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


# --- Size ---------------------------------------------------------------------------------------


def oversized(modules: Iterable[Module]) -> Findings:
    """Find modules, functions and lines that are longer than they may be."""
    findings = []
    for module in modules:
        if module.line_count > MODULE_LINES_MAX:
            findings.append(f"{module.path} has {module.line_count} lines")
        findings += [
            f"{module.path}:{function.lineno} {function.name} has {function_lines(function)} lines"
            for function in functions(module)
            if function_lines(function) > FUNCTION_LINES_MAX
        ]
        findings += overlong_lines(module.path, module.text)
    return findings


def overlong_lines(path: str, text: str) -> Findings:
    """Find lines of any text that are wider than they may be, words to checkers not counted."""
    return [
        f"{path}:{number} has {len(said)} columns"
        for number, line in enumerate(text.splitlines(), start=1)
        if len(line) > LINE_COLUMNS_MAX
        and len(said := re.sub(r"  # (type: ignore|noqa).*", "", line)) > LINE_COLUMNS_MAX
    ]


# --- Words --------------------------------------------------------------------------------------


def without_rules(modules: Iterable[Module]) -> Findings:
    """Find modules whose docstring is missing or names no "Rules of this file"."""
    return [
        f"{module.path} does not open with what it is and the rules of the file"
        for module in modules
        if "Rules of this file" not in (ast.get_docstring(module.tree) or "")
    ]


def undocumented(modules: Iterable[Module]) -> Findings:
    """Find public modules, classes, functions and methods without a docstring.

    What is nested in a function is not public; an override says what the overridden one says, but
    that cannot be seen here, so it needs a sentence too.
    """
    findings = []
    for module in modules:
        if not ast.get_docstring(module.tree):
            findings.append(f"{module.path} has no docstring")
        findings += [
            f"{module.path}:{node.lineno} {node.name} has no docstring"
            for node in _public_definitions(module.tree.body)
            if not ast.get_docstring(node)
        ]
    return findings


def _public_definitions(body: Iterable[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            overload = any(dotted(one).endswith("overload") for one in node.decorator_list)
            if not node.name.startswith("_") and not overload:
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from _public_definitions(node.body)


def badly_named_modules(modules: Iterable[Module]) -> Findings:
    """Find modules and packages that are called as the standard library's, or say nothing."""
    findings = []
    for module in modules:
        for part in Path(module.path).with_suffix("").parts[1:]:
            name = part.lstrip("_")
            if name in FORBIDDEN_MODULE_NAMES:
                findings.append(f"{module.path}: {part} says nothing of what is inside")
            if part in sys.stdlib_module_names:
                findings.append(f"{module.path}: {part} is a module of the standard library")
    return findings


def forbidden_words(modules: Iterable[Module]) -> Findings:
    """Find names that the program defines with a word that means something else to its users."""
    return [
        f"{module.path}:{line} {name} says {', '.join(sorted(words))}"
        for module in modules
        for name, line in _defined_names(module)
        if (words := FORBIDDEN_WORDS & set(_words(name)))
    ]


def _defined_names(module: Module) -> Iterator[tuple[str, int]]:
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def unowned_promises(modules: Iterable[Module]) -> Findings:
    """Find comments that promise work without the number of the issue that will do it."""
    findings = []
    promising = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    for module in modules:
        if not promising.search(module.text):
            continue  # most: taking a source to pieces takes long
        for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
            promise = promising.search(token.string)
            if token.type == tokenize.COMMENT and promise and not re.search(r"#\d", token.string):
                findings.append(f"{module.path}:{token.start[0]} {token.string}")
    return findings


def not_sentences(modules: Iterable[Module]) -> Findings:
    """Find tests whose name is too short to be a sentence."""
    words_min = 2
    return [
        f"{module.path}:{function.lineno} {function.name}"
        for module in modules
        for function in functions(module)
        if function.name.startswith("test_") and len(function.name.split("_")) <= words_min
    ]


# --- Calls and imports --------------------------------------------------------------------------


def uses(modules: Iterable[Module], names: Collection[str]) -> Findings:
    """Find uses of dotted names, however they were imported; a name stands for all below it.

    ``uses(modules, {"os.environ"})`` finds ``os.environ["A"]``, ``from os import environ`` and
    ``import os as system; system.environ``.
    """
    return [
        f"{module.path}:{line} {name}"
        for module in modules
        for name, line in _absolute_names(module)
        if any(name == one or name.startswith(f"{one}.") for one in names)
    ]


def _absolute_names(module: Module) -> Iterator[tuple[str, int]]:
    """Yield each outermost dotted name with the imported names in it spelled out."""
    meaning: dict[str, str] = {}
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.split(".")[0]
                meaning[bound] = alias.name if alias.asname else bound
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}", node.lineno
    inner = {id(node.value) for node in module.nodes if isinstance(node, ast.Attribute)}
    for node in module.nodes:
        if not isinstance(node, ast.Name | ast.Attribute) or id(node) in inner:
            continue
        if name := dotted(node):
            first, _, rest = name.partition(".")
            whole = meaning.get(first, first)
            yield f"{whole}.{rest}" if rest else whole, node.lineno


def broad_handlers(modules: Iterable[Module]) -> Findings:
    """Find handlers that catch everything; one that ends by raising again swallows nothing."""
    findings = []
    for module in modules:
        for node in module.nodes:
            if not isinstance(node, ast.ExceptHandler):
                continue
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            broad = any(
                kind is None or dotted(kind) in {"Exception", "BaseException"} for kind in kinds
            )
            last = node.body[-1]
            if broad and not (isinstance(last, ast.Raise) and last.exc is None):
                findings.append(f"{module.path}:{node.lineno} catches everything")
    return findings


def engine_kinds_asked(modules: Iterable[Module]) -> Findings:
    """Find ``isinstance`` on an engine: what engines differ in stands in Capabilities."""
    return [
        f"{module.path}:{node.lineno} asks which engine it is"
        for module in modules
        for node in module.nodes
        if isinstance(node, ast.Call)
        and dotted(node.func) in {"isinstance", "issubclass"}
        and any(
            dotted(one).endswith("Engine") for one in ast.walk(node) if isinstance(one, ast.expr)
        )
    ]
