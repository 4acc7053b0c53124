"""The row of days above the audit log's list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from moderation.audit import timeline

from .audit_list import LIST, entry, listed

pytestmark = pytest.mark.django_db


def test_a_row_of_days_leads_to_each_day_of_the_readers_zone(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "DAYS", 2)
    monkeypatch.setattr(timeline, "MAX_COUNTED", 1)
    written = []
    # 16:00 UTC is midnight in Shanghai.
    for at in ("2026-01-01T15:59:59", "2026-01-01T16:00:00", "2026-01-02T15:59:59", "2026-03-01T00:00:00"):
        with time_machine.travel(datetime.fromisoformat(f"{at}+00:00"), tick=False):
            written.append(entry().pk)
    answer = reader.get(LIST, {"other_actors": "mo", "before": written[3]})
    row = answer.context["timeline"]
    assert [(str(day.day), day.number, day.is_capped) for day in (each["day"] for each in row["days"])] == [
        ("2026-03-01", 1, False),
        ("2026-01-02", 2, True),
    ]
    assert "over 1" in answer.content.decode()
    narrowed = reader.get(LIST + row["days"][1]["address"])
    assert [each.pk for each in narrowed.context["cl"].result_list] == [written[2], written[1]]
    assert narrowed.context["timeline"]["days"][1]["is_this"]
    assert 'aria-current="date"' in narrowed.content.decode()
    # In the format that browsers send.
    filtered = reader.get(LIST, {"since": "2026-01-02T00:00", "until": "2026-01-03T00:00", "days_before": "2026-03-01"})
    assert [each["is_this"] for each in filtered.context["timeline"]["days"]] == [True, False]
    assert '<input type="hidden" name="days_before" value="2026-01-03">' in filtered.content.decode()
    assert 'type="hidden" name="days_before"' not in answer.content.decode()
    earlier = reader.get(LIST + row["earlier"]).context["timeline"]
    assert [str(each["day"].day) for each in earlier["days"]] == ["2026-01-01"]
    later = reader.get(LIST + earlier["later"]).context["timeline"]
    assert [str(each["day"].day) for each in later["days"]] == ["2026-03-01", "2026-01-02"]


@pytest.mark.parametrize(
    ("zone", "day", "begins", "ends"),
    [
        # Clocks go from 00:00 to 01:00.
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00", "2026-04-24T21:00"),
        ("Africa/Cairo", "2026-04-23", "2026-04-22T22:00", "2026-04-23T22:00"),
        # From 01:00 back to 00:00.
        ("America/Havana", "2026-11-01", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("America/Havana", "2026-10-31", "2026-10-31T04:00", "2026-11-01T04:00"),
        # 30 December did not exist.
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00", "2011-12-31T10:00"),
    ],
)
def test_a_day_with_a_missing_or_repeated_midnight_is_linked(
    reader: Client, auditor: Any, zone: str, day: str, begins: str, ends: str
) -> None:
    auditor.timezone = zone
    auditor.save()
    written = []
    for at in (begins, ends):
        for moment in (datetime.fromisoformat(f"{at}:00Z") - timedelta(microseconds=1), f"{at}Z"):
            with time_machine.travel(moment, tick=False):
                written.append(entry().pk)
    (shown,) = (each for each in reader.get(LIST).context["timeline"]["days"] if str(each["day"].day) == day)
    assert shown["day"].number == 2
    assert listed(reader, **shown["day"].span) == written[2:0:-1]


@pytest.mark.parametrize("day", ["nonsense", "0001-01-01", "9999-12-31"])
def test_an_invalid_day_leaves_the_list_unchanged(reader: Client, day: str) -> None:
    entry()
    for name in ("days_before", "days_after"):
        assert reader.get(LIST, {name: day}).status_code == 200
