"""Plain English: no page, help text, docstring or comment has words that readers look up or read twice."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.core
import typer.main

from api.commands.main import app

ROOT = Path(__file__).parents[2]
# Each with what to write instead. Log events and metrics keep their names: an underscore does not end a word.
INSTEAD = {
    r"\banew\b": "again, from nothing, retrain",
    r"\breckon\w*\b": "compute, count, expect",
    r"\bnone that is\b": "no ... is",
    r"\bwho(so)?ever\b": "anyone who, the caller that",
    r"\blikewise\b": "say it again, with its subject",
    r"\belse it would\b": "otherwise it would",
    r"\bnow and then\b": "sometimes, or how often",
    r"\bof late\b": "recently",
    r"\bhitherto\b|\bwherein\b|\bthereof\b|\bwhence\b": "so far, in which, of it, from where",
    r"\btold how many\b": "progress callback: called with the number of",
    r"\bwithout a murmur\b": "without an error",
    r"\bby heart and\b": "completely",
}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
# Released versions of the schema are never edited.
SOURCES = sorted(
    path
    for folder in ("bandit", "sim", "api", "benchmarks", "clients", "examples", "migrations", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path.parent.name != "versions" and path != Path(__file__)
)


def faults(words: str) -> list[str]:
    """Every word of the table in the text, with what to write instead."""
    found = ((match, better) for rule, better in INSTEAD.items() for match in re.finditer(rule, words, re.IGNORECASE))
    return [f"{match[0]!r}: {better}" for match, better in found]


def prose_of(source: str) -> Iterator[str]:
    """The docstrings and comments of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def helps(command: typer.core.TyperGroup | typer.core.TyperCommand, name: str = "sendopt") -> Iterator[tuple[str, str]]:
    """Every command, argument and option of ours, with its help."""
    yield name, command.help or ""
    for parameter in command.params:
        if parameter.name != "help":
            yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
    if isinstance(command, typer.core.TyperGroup):
        for part, below in command.commands.items():
            assert isinstance(below, typer.core.TyperGroup | typer.core.TyperCommand)
            yield from helps(below, f"{name} {part}")


def fault_of_help(words: str) -> str | None:
    """What is wrong with a help text, or None."""
    if not re.match(r"[A-Za-z]", words):
        return "is missing"
    if re.match(r"(Of|And|Whose|With|By|At|Else) ", words):
        return "begins without its subject"
    if len(words.split()) < 3:
        return "is too short to be understood alone"
    return None if words.rstrip().endswith(".") else "must end with a full stop"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_in_plain_english(page: Path) -> None:
    prose = re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    assert faults(prose) == []


def test_docstrings_and_comments_are_in_plain_english() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path in SOURCES
        for words in prose_of(path.read_text(encoding="utf-8"))
        for fault in faults(words)
    ]
    assert found == []


def test_every_help_text_can_be_understood_alone() -> None:
    texts = list(helps(typer.main.get_group(app)))
    assert len(texts) > 50
    assert [(name, fault) for name, words in texts if (fault := fault_of_help(words)) is not None] == []
    assert [fault for _, words in texts for fault in faults(words)] == []


@pytest.mark.parametrize(
    "words", ["It is taught anew.", "Whoever asks", "told how many events were read, now and then"]
)
def test_a_word_of_the_table_is_found_out(words: str) -> None:
    assert faults(words)
    assert faults("model_began_anew counts it again") == []


@pytest.mark.parametrize("words", ["", "Likewise.", "Of the intervals.", "Runs at a time", "Whose log."])
def test_a_help_text_without_its_subject_is_found_out(words: str) -> None:
    assert fault_of_help(words) is not None
