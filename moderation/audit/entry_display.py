"""How the pages of the audit log show an entry: its number, labels, and neighbours in the log and the recall."""

from typing import Any
from urllib.parse import urlencode

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from moderation.audit.filters import applications
from moderation.audit.models import Action, AuditEntry, AuditSeal
from moderation.read_only_admin import moment

# Entries of the same recall that are shown before and after one.
MAX_STEPS = 10


def conversation_query(entry: AuditEntry) -> str:
    """Query string of the list of all entries of the same conversation."""
    query = {"conversation": entry.conversation_ids}
    if entry.app:
        query["app" if entry.app in dict(applications()) else "other_apps"] = entry.app
    return urlencode(query)


def entry_number(entry: AuditEntry) -> str:
    """The entry's number in the log; "…" while it is not sealed yet."""
    return str(entry.seal.seq) if hasattr(entry, "seal") else "…"


def code_pill(entry: AuditEntry) -> SafeString | str:
    """GoEasy's response code as a pill; empty for a step without an answer."""
    if entry.response_code is not None:
        code = entry.response_code
        state = "accepted" if code == 200 else "unknown" if code == 408 or code >= 500 else "refused"
        return format_html('<span class="pill {}">{}</span>', state, entry.response_code)
    if entry.action == Action.UNANSWERED:
        return format_html('<span class="pill unknown">{}</span>', _("no answer"))
    if entry.action == Action.ANSWERED:
        # Other failures leave the effect unknown; 503 says that the call was not handled.
        status = entry.http_status or 0
        state = "refused" if status == 503 or (400 <= status < 500 and status != 408) else "unknown"
        return format_html('<span class="pill {}">{}</span>', state, _("no code"))
    return ""


def neighbours(entry: AuditEntry) -> dict[str, AuditSeal | None]:
    """Seals of the previous and the next entry in the log; empty while the entry is not sealed yet."""
    if not hasattr(entry, "seal"):
        return {}
    seq = entry.seal.seq
    seals = {seal.seq: seal for seal in AuditSeal.objects.filter(seq__in=(seq - 1, seq + 1))}
    return {"previous": seals.get(seq - 1), "next": seals.get(seq + 1)}


def recall_steps(entry: AuditEntry) -> dict[str, Any]:
    """The entries of the same recall around this one (included), in order, and whether there are more."""
    if entry.recall is None:
        return {}
    same = AuditEntry.objects.filter(recall=entry.recall).defer("timestamps", "request", "response_content", "detail")
    before = list(same.filter(pk__lt=entry.pk).order_by("-pk")[: MAX_STEPS + 1])
    after = list(same.filter(pk__gt=entry.pk).order_by("pk")[: MAX_STEPS + 1])
    shown = [*reversed(before[:MAX_STEPS]), entry, *after[:MAX_STEPS]]
    return {
        "shown": [
            {"entry": each, "time": moment(each.at), "action": each.action_label, "code": code_pill(each)}
            for each in shown
        ],
        "are_earlier": len(before) > MAX_STEPS,
        "are_later": len(after) > MAX_STEPS,
    }
