"""Every text is translatable, and Simplified Chinese is complete (architecture, invariant 10)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse

from recall.models import RecallReason

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("locale") / "zh_Hans" / "LC_MESSAGES"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}|</?\w+")


def catalog(root: Path = ROOT) -> Catalog:
    with (root / FOLDER / "django.po").open("rb") as file:
        return read_po(file, locale="zh_Hans")


def texts(message: Message) -> tuple[list[str], list[str]]:
    """English and Chinese forms of a message."""
    english = [message.id] if isinstance(message.id, str) else list(message.id)
    chinese = [message.string] if isinstance(message.string, str) else list(message.string)
    return english, chinese


def messages(catalog: Catalog) -> list[Message]:
    return [message for message in catalog if message.id]


def test_every_text_in_code_and_templates_is_translated(tmp_path: Path) -> None:
    if not shutil.which("xgettext"):
        reason = "gettext is not installed (Debian: apt-get install gettext)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    for name in ("moderation", "recall", "templates", "locale"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", tmp_path)
    command = ["makemessages", "--locale", "zh_Hans", "--no-obsolete", "--no-wrap", "--add-location", "file"]
    result = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=tmp_path,
        env={**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/none.sqlite3", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    untranslated = [
        message.id for message in messages(catalog(tmp_path)) if message.fuzzy or not all(texts(message)[1])
    ]
    assert not untranslated, f"Not in Chinese yet (make messages, then translate): {untranslated}"
    assert len(messages(catalog(tmp_path))) > 400


def test_the_compiled_catalog_is_up_to_date() -> None:
    def translations(catalog: Catalog) -> dict[str, list[str]]:
        return {texts(message)[0][0]: texts(message)[1] for message in messages(catalog)}

    with (ROOT / FOLDER / "django.mo").open("rb") as file:
        assert translations(read_mo(file)) == translations(catalog()), "django.mo is out of date: run make messages"


# One term for one thing (docs/glossary.md): words that texts used before, and what they use now.
RETIRED = {
    "工作进程": "后台进程",
    "档案": "存档",
    "批量清理": "批量撤回",
    "审计记录": "审计条目",
    "撤回方": "撤回人",
    "客户端": "App 用户",
    "已接受": "已受理",
    "已消失": "已核实撤回",
    "复核": "预览",
    "主管": "审核组长",
    "管理台": "控制台",
}
# A sign of ASCII beside a Chinese character, or a space after a full stop.
ASCII_SIGN = re.compile("[\u4e00-\u9fff][,;:?!]|[,;:?!][\u4e00-\u9fff]|。 ")


def test_chinese_texts_have_one_term_for_one_thing_and_chinese_punctuation() -> None:
    chinese = [text for message in messages(catalog()) for text in texts(message)[1]]
    for old, new in RETIRED.items():
        assert not (found := [text for text in chinese if old in text]), f"{old} is {new} now: {found}"
    assert not (found := [text for text in chinese if ASCII_SIGN.search(text)]), f"Chinese punctuation: {found}"


def test_translations_keep_every_placeholder_and_tag() -> None:
    for message in messages(catalog()):
        english, chinese = texts(message)
        expected = set(PLACEHOLDER.findall(english[-1]))
        assert all(set(PLACEHOLDER.findall(text)) == expected for text in chinese), message.id


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/", "/conversations/", "/conversations/open/", "/recalls/", "/recalls/new/"])
def test_a_chinese_page_has_no_english_text(address: str, client: Client, administrator: Any, application: Any) -> None:
    administrator.language = "zh-hans"
    administrator.save()
    client.force_login(administrator)
    page = client.get(address).content.decode()
    assert '<html lang="zh-hans"' in page.lower()
    shown = re.sub(r"<(script|template|style).*?</\1>|<[^>]+>", "\n", page, flags=re.DOTALL)
    shown = " ".join(shown.split())
    english = {text for message in messages(catalog()) for text in texts(message)[0] if len(text.split()) > 2}
    assert [text for text in english if text in shown] == []


@pytest.mark.django_db
def test_chinese_admin_pages_have_no_english_text(client: Client, administrator: Any) -> None:
    administrator.language = "zh-hans"
    administrator.save()
    client.force_login(administrator)
    models = [(each, each.model._meta) for each in admin.site._registry.values()]
    lists = [reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist") for _each, meta in models]
    request = RequestFactory().get("/")
    request.user = administrator
    forms = [
        reverse(f"admin:{meta.app_label}_{meta.model_name}_add")
        for each, meta in models
        if each.has_add_permission(request)
    ]
    own = [
        reverse("admin:index"),
        reverse("admin:password_change"),
        reverse("admin:accounts_user_change", args=[administrator.pk]),
        reverse("admin:auth_user_password_change", args=[administrator.pk]),
        reverse("admin:accounts_user_delete", args=[administrator.pk]),
    ]
    # A reason has its label in both languages.
    english = set(RecallReason.objects.values_list("label_en", flat=True))
    for address in (*own, *lists, *forms):
        page = client.get(address).content.decode()
        shown = re.sub(r"<(script|template|style|code|pre).*?</\1>|<[^>]+>", "\n", page, flags=re.DOTALL)
        untranslated = [line.strip() for line in shown.splitlines() if re.search(r"([A-Za-z’'-]+ ){3}[A-Za-z]", line)]
        assert set(untranslated) <= english, (address, untranslated)


@pytest.mark.django_db
def test_reasons_are_shown_in_the_readers_language(reason: Any) -> None:
    from django.utils import translation

    with translation.override("zh-hans"):
        assert str(reason) == reason.label_zh
    with translation.override("en"):
        assert str(reason) == reason.label_en


@pytest.mark.django_db
def test_a_visitor_gets_the_language_of_the_browser(client: Client) -> None:
    assert "登录" in client.get("/accounts/login/", headers={"accept-language": "zh-CN,zh;q=0.9"}).content.decode()
    assert "Sign in" in client.get("/accounts/login/", headers={"accept-language": "fr"}).content.decode()
