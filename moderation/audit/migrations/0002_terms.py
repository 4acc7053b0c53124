import re

import django.db.models.deletion
from django.db import migrations, models

AT_ONCE = 500
MAX_TERM, MAX_WORDS = 300, 20
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# The fields by which an action's entries are found, as they were when this was made (`is_searched` of the classes).
SEARCHED = {
    "recall.requested": ("reason", "sweep"),
    "recall.stopped": ("reason",),
    "recall.verified": ("seen_by_recall",),
    "goeasy.checked": ("check",),
    "auth.sign_in_failed": ("account",),
    "auth.password_refused": ("account",),
    "reader.alarm": ("reader",),
    "application.keys_rotated": ("applications",),
    "account.changed": ("name",),
    "application.changed": ("name",),
    "reason.changed": ("name",),
    "pseudonym.changed": ("name",),
    "audit.exported": ("job",),
    "audit.downloaded": ("job",),
    "audit.verified": ("job",),
    "backup.made": ("file",),
    "text.erased": ("reason",),
}


def term(kind, value):
    text = f"{kind}:{value}"[:MAX_TERM]
    return "" if UNSTORABLE.search(text) else text


def terms_of(action, timestamps, detail):
    """What an entry can be found by, as `moderation/audit/terms.py` had it when this was made."""
    detail = detail if isinstance(detail, dict) else {}
    found = {term("t", timestamp) for timestamp in timestamps or ()}
    origin = detail.get("from")
    if isinstance(origin, dict) and origin.get("request_id"):
        found.add(term("r", origin["request_id"]))
    if action == "text.erased" and detail.get("sender"):
        found.add(term("s", detail["sender"]))
    for name in SEARCHED.get(action, ()):
        value = detail.get(name)
        for text in map(str, value if isinstance(value, list) else [value] if value else []):
            words = re.findall(r"\w+", text.casefold())[:MAX_WORDS]
            found |= {term("w", text.casefold()), *(term("w", word) for word in words)}
    return found - {""}


def fill(apps, schema_editor):
    """Index the entries that there are, AT_ONCE at a time."""
    entries = apps.get_model("audit", "AuditEntry").objects.order_by("pk")
    terms = apps.get_model("audit", "AuditTerm").objects
    kept = apps.get_model("recall", "Evidence").objects
    model, last = terms.model, 0
    while some := list(entries.filter(pk__gt=last)[:AT_ONCE].values_list(*FIELDS)):
        last = some[-1][0]
        senders = {}
        recalls = {recall for _pk, _at, action, recall, *_rest in some if action == "recall.requested" and recall}
        of_them = kept.filter(item__recall_id__in=recalls)
        for recall, timestamp, sender in of_them.values_list("item__recall_id", "item__timestamp", "sender_id"):
            senders.setdefault((recall, timestamp), set()).add(term("s", sender) if sender else "")
        rows = []
        for pk, at, action, recall, timestamps, detail in some:
            found = terms_of(action, timestamps, detail)
            if action == "recall.requested":
                found = found.union(*(senders.get((recall, timestamp), ()) for timestamp in timestamps or ()))
            rows += [model(term=each, at=at, entry_id=pk) for each in sorted(found - {""})]
        terms.bulk_create(rows, batch_size=5_000, ignore_conflicts=True)


FIELDS = ("pk", "at", "action", "recall", "timestamps", "detail")


class Migration(migrations.Migration):
    # The evidence tells who sent what was recalled.
    dependencies = [("audit", "0001_initial"), ("recall", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="AuditTerm",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "term", "at", "entry_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("term", models.CharField(max_length=300)),
                ("at", models.DateTimeField()),
                (
                    "entry",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="audit.auditentry",
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
