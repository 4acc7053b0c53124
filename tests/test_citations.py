"""Citations of documents, headings, anchors, modules and tests exist in the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("moderation", "recall", "tests", "benchmarks", "templates", "static/js", "static/css", "docs", ".github")
SOURCES = {".py", ".html", ".js", ".css", ".md", ".sh", ".yml"}
# This file has citations that are wrong on purpose.
EXEMPT = {"tests/test_citations.py"}

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
# docs/x.md, and the heading or the invariant after it.
DOCUMENT = re.compile(
    r"(?<![\w/.:-])(?P<path>(?:\.{1,2}/)?[\w./-]+\.md)\b(?:, (?:\"(?P<heading>[^\"]+)\"|invariant (?P<number>\d+)))?"
)
DECISION = re.compile(r"(?<![\w/])docs/adr/(\d{4})(?![\d-])")
# In documents: `recall/services.py`, `tests/test_x.py::test_y`, `moderation/outbox/`.
CODE = re.compile(r"`((?:[\w.-]+/)+(?:[\w-]+\.(?:py|js|html|css|json|toml))?)(?:::(\w+))?`")
# Folders that the console creates at run time, and examples in documents.
NOT_IN_THE_REPOSITORY = ("data/", "exports/", "staticfiles/", "test-results/")


def problems(root: Path) -> Iterator[str]:
    """Messages about citations below `root` that do not exist."""
    for path in files(root):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(root).as_posix()
        if path.suffix == ".md":
            yield from wrong_links(root, path, name, text)
            yield from wrong_code(root, path, name, text)
            text = LINK.sub("", text)
        yield from wrong_documents(root, path, name, unwrapped(text))


def files(root: Path) -> Iterator[Path]:
    """Sources, tests, documents and configuration files."""
    paths = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.suffix in SOURCES]
    paths += [path for path in root.iterdir() if path.is_file() and (path.suffix in SOURCES or path.suffix == ".toml")]
    paths += [root / name for name in (".env.example", "Makefile") if (root / name).exists()]
    return (path for path in sorted(paths) if path.relative_to(root).as_posix() not in EXEMPT)


def unwrapped(text: str) -> str:
    """The text without line ends and the comment signs after them."""
    return re.sub(r"\s*\n\s*(?:#|//|\*)?\s*", " ", text)


def without_code(text: str) -> str:
    """The document without code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(path: Path) -> list[str]:
    """The headings of a document, without their markup."""
    lines = re.findall(r"^#{1,6} +(.+?) *$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE)
    return [re.sub(r"[`*]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line)) for line in lines]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    seen: dict[str, int] = {}
    slugs = set()
    for heading in headings(path):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = seen[slug] = seen.get(slug, -1) + 1
        slugs.add(f"{slug}-{number}" if number else slug)
    return slugs


def wrong_links(root: Path, path: Path, name: str, text: str) -> Iterator[str]:
    """Messages about links and pictures of a document without an existing file or heading."""
    for match in LINK.finditer(without_code(text)):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        file, _hash, anchor = target.partition("#")
        cited = (path.parent / file) if file else path
        if not cited.exists():
            yield f"{name} links to {target}, and there is no such file."
        elif anchor and anchor not in anchors(cited):
            yield f"{name} links to {target}, and that document has no such heading."


def wrong_code(root: Path, path: Path, name: str, text: str) -> Iterator[str]:
    """Messages about modules, folders and tests that a document names and that do not exist."""
    for match in CODE.finditer(without_code(text)):
        cited, test = match[1], match[2]
        if cited.startswith(NOT_IN_THE_REPOSITORY) or cited.startswith("/"):
            continue
        places = [folder / cited for folder in (root, root / "moderation", root / "templates", path.parent)]
        place_cited = next((place for place in places if place.exists()), None)
        if place_cited is None:
            yield f"{name} names {cited}, and there is no such file or folder."
        elif test and not re.search(rf"\b(?:def|class) {test}\b", place_cited.read_text(encoding="utf-8")):
            yield f"{name} names {test} in {cited}, and that file has no such test."


def wrong_documents(root: Path, path: Path, name: str, text: str) -> Iterator[str]:
    """Messages about documents, headings and invariants that a text cites and that do not exist."""
    for match in DOCUMENT.finditer(text):
        cited, heading, number = match["path"], match["heading"], match["number"]
        if text[match.start() - 1] in "\"'" and text[match.end("path")] in "\"'":
            # A file name in code that reads the file.
            continue
        # Code cites relative to the root of the repository, documents also relative to themselves.
        places = [root / cited, path.parent / cited] if path.suffix == ".md" else [root / cited]
        place_cited = next((place for place in places if place.exists()), None)
        if place_cited is None:
            yield f"{name} cites {cited}, and there is no such file in the repository."
        elif heading and heading not in headings(place_cited):
            yield f"{name} cites {cited}, “{heading}”, and that document has no such heading."
        elif number and not re.search(rf"^{number}\. ", place_cited.read_text(encoding="utf-8"), re.MULTILINE):
            yield f"{name} cites {cited}, invariant {number}, and that document has no such invariant."
    for number in DECISION.findall(text):
        if not list((root / "docs" / "adr").glob(f"{number}-*.md")):
            yield f"{name} cites docs/adr/{number}, and there is no such decision."


def test_every_citation_exists_in_the_repository() -> None:
    if wrong := list(problems(ROOT)):
        pytest.fail("\n".join(wrong))


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("recall/a.py", "# goeasy-api.md\n", "recall/a.py cites goeasy-api.md, and there is no such file"),
        (
            "recall/a.py",
            '"""docs/b.md,\n    "Gone"."""',
            "recall/a.py cites docs/b.md, “Gone”, and that document has no",
        ),
        ("recall/a.py", "# docs/b.md, invariant\n# 2\n", "recall/a.py cites docs/b.md, invariant 2, and that document"),
        ("recall/a.py", "# docs/adr/0002\n", "recall/a.py cites docs/adr/0002, and there is no such decision."),
        (".env.example", "# docs/c.md\n", ".env.example cites docs/c.md, and there is no such file"),
        ("docs/a.md", "[x](c.md)", "docs/a.md links to c.md, and there is no such file."),
        ("docs/a.md", "[x](b.md#gone)", "docs/a.md links to b.md#gone, and that document has no such heading."),
        ("docs/a.md", "![x](images/x.png)", "docs/a.md links to images/x.png, and there is no such file."),
        ("README.md", "`recall/gone.py`", "README.md names recall/gone.py, and there is no such file or folder."),
        ("README.md", "`recall/b.py::test_gone`", "README.md names test_gone in recall/b.py, and that file has no"),
    ],
)
def test_a_citation_that_leads_nowhere_is_named(tmp_path: Path, file: str, text: str, problem: str) -> None:
    for name, content in (
        ("docs/b.md", "# B\n\n## The heading: `it`\n\n1. First.\n\n```\n# Gone\n```\n"),
        ("docs/adr/0001-first.md", "# 1. First\n"),
        ("recall/b.py", "def test_there() -> None: ...\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "docs" / "good.md").write_text(
        "[x](b.md#the-heading-it) `recall/b.py::test_there` docs/adr/0001 b.md, invariant 1", encoding="utf-8"
    )
    (tmp_path / "recall" / "good.py").write_text('# docs/b.md, "The heading: it"; docs/adr/0001\n', encoding="utf-8")
    (tmp_path / file).write_text(text, encoding="utf-8")
    (only,) = problems(tmp_path)
    assert problem in only
