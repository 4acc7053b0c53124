"""Encryption of stored keys, and `manage.py rotate_keys`."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from moderation.applications import key_rotation
from moderation.applications.models import Application
from moderation.applications.secrecy import reseal, seal, unseal
from moderation.archive.models import Conversation
from moderation.audit.models import Action, AuditEntry
from moderation.goeasy.client import Group
from moderation.ingestion.backfill import read_latest
from moderation.ingestion.models import FeedCount
from moderation.outbox.sender import send_due
from recall.models import Recall

pytestmark = pytest.mark.django_db
SIGNATURE = "x-goeasy-signature"
APPKEY, SECRET = "BC-0011223344556677", "one-secret,another-secret"
OLD, NEW, NEWER = "old-" * 20, "new-" * 20, "newer-" * 20


@pytest.fixture
def stored(settings: Any) -> Application:
    """An application whose keys are encrypted with SECRET_KEY alone."""
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []
    settings.FIELD_ENCRYPTION_KEY, settings.FIELD_ENCRYPTION_KEY_FALLBACKS = "", []
    application = Application(slug="second", name="Second")
    application.set_appkey(APPKEY)
    application.set_secret_keys(SECRET)
    (saved,) = Application.objects.bulk_create([application])
    return saved


def keys() -> tuple[str, list[str]]:
    application = Application.objects.get(slug="second")
    return application.appkey(), application.secret_keys()


def rotate(*arguments: str) -> tuple[int, str, str]:
    """Run the command. Returns exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("rotate_keys", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_stored_keys_stay_readable_when_they_get_a_key_of_their_own(stored: Application, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEY = NEW
    assert keys() == (APPKEY, SECRET.split(","))
    # Without the new key, newly stored keys cannot be decrypted.
    sealed = seal("x")
    settings.FIELD_ENCRYPTION_KEY = ""
    assert unseal(sealed) == ""


def test_after_rotation_the_former_key_is_not_needed(stored: Application, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEY = NEW
    assert rotate()[:2] == (0, "Encrypted anew: 2. Already up to date: 0.\n")
    settings.SECRET_KEY = "another-" * 10
    assert keys() == (APPKEY, SECRET.split(","))
    settings.FIELD_ENCRYPTION_KEY, settings.FIELD_ENCRYPTION_KEY_FALLBACKS = NEWER, [NEW]
    assert rotate()[0] == 0
    settings.FIELD_ENCRYPTION_KEY_FALLBACKS = []
    assert keys() == (APPKEY, SECRET.split(","))


def test_a_changed_secret_key_rotates_what_it_encrypted(stored: Application, settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert rotate()[0] == 0
    settings.SECRET_KEY_FALLBACKS = []
    assert keys() == (APPKEY, SECRET.split(","))


def test_a_second_rotation_changes_and_records_nothing(stored: Application, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEY = NEW
    rotate()
    before = Application.objects.values().get(slug="second")
    assert json.loads(rotate("--json")[1]) == {
        **{"rotated": 0, "current": 2, "unreadable": 0},
        **{"applications": [], "unreadable_in": []},
    }
    assert Application.objects.values().get(slug="second") == before
    assert AuditEntry.objects.filter(action=Action.KEYS_ROTATED).count() == 1


def test_the_rotation_is_recorded_without_a_key(stored: Application, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEY = NEW
    said = "".join(map(str, rotate("--json")))
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.detail) == (
        Action.KEYS_ROTATED,
        {"rotated": 2, "unreadable": 0, "applications": ["second"]},
    )
    for secret in (APPKEY, *SECRET.split(","), OLD, NEW):
        assert secret not in said + str(entry.detail)


def test_a_key_that_cannot_be_decrypted_is_kept_and_reported(stored: Application, settings: Any) -> None:
    lost = Application.objects.create(slug="lost", name="Lost", appkey_sealed="gAAAAABnothing")
    settings.FIELD_ENCRYPTION_KEY = NEW
    status, out, err = rotate("--json")
    assert (status, json.loads(out)["unreadable_in"]) == (1, ["lost"])
    assert "left as they are: 1, of lost." in err
    lost.refresh_from_db()
    assert lost.appkey_sealed == "gAAAAABnothing"
    assert key_rotation.count_unreadable() == 1
    assert keys() == (APPKEY, SECRET.split(","))


def test_a_rotation_that_cannot_be_recorded_changes_nothing(
    stored: Application, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_event: object) -> None:
        raise RuntimeError

    settings.FIELD_ENCRYPTION_KEY = NEW
    before = Application.objects.values().get(slug="second")
    monkeypatch.setattr(key_rotation, "record", fail)
    with pytest.raises(RuntimeError):
        key_rotation.rotate(actor="x")
    assert Application.objects.values().get(slug="second") == before


def test_an_empty_text_is_never_encrypted(stored: Application) -> None:
    assert reseal(seal("x")) is not None
    assert reseal("gAAAAABnothing") is None


@pytest.mark.parametrize("page", ["home", "history"])
def test_a_key_that_cannot_be_opened_is_not_called_missing(
    stored: Application, settings: Any, client: Client, moderator: Any, page: str
) -> None:
    settings.SECRET_KEY = NEW
    assert stored.key_problem == "key_unreadable"
    if page == "home":
        client.force_login(moderator)
        text = client.get("/").content.decode()
        assert "stored key cannot be opened" in text and "it has no key" not in text.partition("Second")[2][:300]
    else:
        conversation = Conversation.objects.open(stored, Group("g-1"))
        assert read_latest(conversation).problem == "key_unreadable"
    stored.appkey_sealed = ""
    assert stored.key_problem == "not_configured"


def test_the_feed_tells_a_secret_that_cannot_be_opened_from_a_missing_one(
    stored: Application, settings: Any, client: Client, administrator: Any
) -> None:
    def feed_of_second() -> str:
        client.force_login(administrator)
        page = client.get("/feed/").content.decode()
        client.post("/webhooks/goeasy/second", "content=x", content_type="text/plain", headers={SIGNATURE: "x"})
        return page.partition(f'id="feed-{stored.pk}"')[2]

    settings.SECRET_KEY = NEW
    assert stored.secret_problem == "key_unreadable"
    page = feed_of_second()
    assert "stored SecretKey cannot be opened" in page and "has no SecretKey" not in page
    Application.objects.filter(pk=stored.pk).update(secret_keys_sealed="")
    page = feed_of_second()
    assert "has no SecretKey" in page and "refused because the stored SecretKey cannot be opened" in page
    assert dict(FeedCount.objects.values_list("what", "number")) == {"secret_unreadable": 1, "no_secret": 1}


@pytest.mark.parametrize(
    ("is_stored", "stop_reason", "message"),
    [
        (True, "key_unreadable", "The application’s stored key cannot be opened."),
        (False, "not_configured", "The application has no key."),
    ],
)
def test_a_recall_stops_for_the_key_that_is_missing_or_cannot_be_opened(
    stored: Application,
    settings: Any,
    client: Client,
    moderator: Any,
    reason: Any,
    is_stored: bool,
    stop_reason: str,
    message: str,
) -> None:
    recall = Recall.objects.create(
        application=stored,
        conversation=Conversation.objects.open(stored, Group("g-1")),
        actor=moderator,
        reason=reason,
    )
    if not is_stored:
        Application.objects.filter(pk=stored.pk).update(appkey_sealed="")
    settings.SECRET_KEY = NEW
    send_due(Application.objects.get(pk=stored.pk))
    recall.refresh_from_db()
    assert (recall.state, recall.stop_reason) == ("stopped", stop_reason)
    client.force_login(moderator)
    page = client.get(recall.get_absolute_url()).content.decode()
    others = {"The application’s stored key cannot be opened.", "The application has no key."} - {message}
    assert message in page and not any(other in page for other in others)
