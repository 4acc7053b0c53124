"""The list's indexes go by time, so that a filter and a span of time are found together."""

from django.db import migrations, models

BEFORE = {
    "audit_by_time": ["at"],
    "audit_by_actor": ["actor", "-id"],
    "audit_by_action": ["action", "-id"],
    "audit_by_application": ["app", "-id"],
    "audit_by_response_code": ["response_code", "-id"],
    "audit_by_group": ["group_id", "-id"],
    "audit_by_user_a": ["user_a", "-id"],
    "audit_by_user_b": ["user_b", "-id"],
}


def in_the_order_of_time(name: str) -> list[migrations.AddIndex | migrations.RemoveIndex]:
    filtered = [field for field in BEFORE[name] if field not in {"at", "-id"}]
    return [
        migrations.RemoveIndex("auditentry", name),
        migrations.AddIndex("auditentry", models.Index(fields=[*filtered, "at", "id"], name=name)),
    ]


class Migration(migrations.Migration):
    dependencies = [("audit", "0005_private")]

    operations = [operation for name in BEFORE for operation in in_the_order_of_time(name)]
