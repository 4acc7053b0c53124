from django.db import migrations

REASONS = [
    ("spam", "Spam or advertising", "垃圾信息或广告"),
    ("abuse", "Abuse or harassment", "辱骂或骚扰"),
    ("sexual", "Sexual content", "色情内容"),
    ("illegal", "Illegal content", "违法内容"),
    ("fraud", "Fraud", "诈骗"),
    ("privacy", "Personal data", "泄露个人信息"),
    ("mistake", "Sent by mistake", "误发"),
    ("other", "Other (say in the note)", "其他（请在备注中说明）"),
]


def add_reasons(apps, schema_editor):
    reason = apps.get_model("recall", "RecallReason")
    for position, (code, label_en, label_zh) in enumerate(REASONS):
        reason.objects.get_or_create(
            code=code, defaults={"label_en": label_en, "label_zh": label_zh, "position": position}
        )


class Migration(migrations.Migration):
    dependencies = [("recall", "0001_initial")]

    operations = [migrations.RunPython(add_reasons, migrations.RunPython.noop)]
