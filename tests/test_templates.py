"""Templates: their folders, names, uses and line lengths."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from django.template import TemplateDoesNotExist
from django.template.loader import get_template

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"
PATHS = {path.relative_to(TEMPLATES).as_posix(): path for path in TEMPLATES.rglob("*.html")}
NAMED_IN_TEMPLATE = re.compile(r"{%\s*(?:include|extends)\s+[\"']([^\"']+)[\"']")
# Django itself loads these.
NAMED_BY_DJANGO = {"403.html", "403_csrf.html", "404.html", "500.html", "admin/base_site.html"}
MAX_LINE = 120


def names_in_templates() -> Iterator[tuple[str, str]]:
    """Names of templates in other templates, each with the file that has it."""
    for name, path in PATHS.items():
        for included in NAMED_IN_TEMPLATE.findall(path.read_text(encoding="utf-8")):
            yield included, f"templates/{name}"


def names_in_code() -> Iterator[tuple[str, str]]:
    """Strings in the code that end like a template's name; `*` stands for parts computed at run time."""
    for app in ("moderation", "recall"):
        for path in (ROOT / app).rglob("*.py"):
            for name in texts(ast.parse(path.read_text(encoding="utf-8"))):
                if name.endswith(".html"):
                    yield name, path.relative_to(ROOT).as_posix()


def texts(node: ast.AST) -> Iterator[str]:
    """Strings in the syntax tree; an f-string is one of them."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from texts(child)


def is_one_of(path: str, names: Iterable[str]) -> bool:
    """Whether a name matches the path, or its last part if code composes the name."""
    return any(fnmatchcase(path, name) or ("/" not in name and path.endswith(f"/{name}")) for name in names)


def exists(name: str) -> bool:
    if any(is_one_of(path, [name]) for path in PATHS):
        return True
    try:
        get_template(name)
    except TemplateDoesNotExist:
        return False
    return True


def test_every_template_that_is_named_has_a_file() -> None:
    missing = [
        f"{place} names the template “{name}”, which has no file."
        for name, place in [*names_in_templates(), *names_in_code()]
        if not exists(name)
    ]
    assert missing == [], "\n".join(missing)


def test_every_template_is_named_in_code_or_in_another_template() -> None:
    names = {name for name, _place in [*names_in_templates(), *names_in_code()]} | NAMED_BY_DJANGO
    unused = [f"templates/{path} is named by no code and no template." for path in PATHS if not is_one_of(path, names)]
    assert unused == [], "\n".join(unused)


def is_in_place(path: str) -> bool:
    """Whether the path is in a folder for templates; Django determines those of its own and of its admin."""
    if path in NAMED_BY_DJANGO | {"base.html"} or path.startswith("admin/"):
        return True
    folder, _slash, name = path.rpartition("/")
    if name.startswith("_"):
        return folder == "partials" or folder.endswith("/partials") or folder == "archive/messages"
    return folder.endswith("/pages")


def test_pages_and_partials_of_an_app_are_in_folders_of_their_own() -> None:
    misplaced = [
        f"templates/{path} belongs into templates/<app>/pages/, or with a name that begins with “_” into partials/."
        for path in PATHS
        if not is_in_place(path)
    ]
    assert misplaced == [], "\n".join(misplaced)


def test_no_line_of_a_template_is_longer_than_120_characters() -> None:
    long = [
        f"templates/{name}, line {number} has {len(line)} characters: at most {MAX_LINE} are readable."
        for name, path in PATHS.items()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > MAX_LINE
    ]
    assert long == [], "\n".join(long)


# Text that is the same in every language, and blocks whose text is the class of an element.
NOT_TRANSLATED = {"GoEasy", "HTTP", "SHA-256", "UTC", "Ctrl K", "seq", "prev_hash", "hash"}
NO_TEXT = re.compile(
    r"{% (comment|blocktranslate|block main_class|block bodyclass|block body_class|block coltype)\b.*?{% end\w+[^%]*%}"
    r"|<(code|kbd|script|pre)\b.*?</\2>|<(\w+)[^>]*translate=\"no\"[^>]*>[^<]*</\3>|{#.*?#}|{%.*?%}|{{.*?}}|&\w+;",
    re.DOTALL,
)


def test_every_text_of_a_template_is_marked_for_translation() -> None:
    forgotten = [
        f"templates/{name}: “{text}” is the same in every language: {{% translate %}}, or NOT_TRANSLATED."
        for name, path in PATHS.items()
        for line in re.sub(r"<[^>]*>", "\n", NO_TEXT.sub("", path.read_text(encoding="utf-8"))).splitlines()
        # Of a partial that has attributes alone, `name="value"` is no text.
        if re.search("[A-Za-z]{3}", text := line.strip()) and text not in NOT_TRANSLATED and '="' not in text
    ]
    assert forgotten == [], "\n".join(forgotten)
