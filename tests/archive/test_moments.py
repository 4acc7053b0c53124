"""Display of times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation

from moderation.archive.templatetags import moments

MS = 1594958217087  # 2020-07-17 03:56:57.087 UTC


@pytest.fixture(autouse=True)
def shanghai() -> Iterator[None]:
    with timezone.override(ZoneInfo("Asia/Shanghai")):
        yield


def test_a_message_s_time_is_in_the_reader_s_zone_to_the_millisecond() -> None:
    assert ">2020-07-17 11:56:57.087</time>" in moments.moment(MS)


def test_the_tooltip_of_a_time_shows_utc() -> None:
    html = moments.moment(MS)
    assert 'datetime="2020-07-17T03:56:57.087Z"' in html
    assert 'title="UTC 2020-07-17 03:56:57.087"' in html


def test_no_millisecond_is_lost_to_floats() -> None:
    for ms in range(1795390714000, 1795390715000, 7):
        assert f".{ms % 1000:03}</time>" in moments.clock(ms)


def test_other_times_are_shown_to_the_second() -> None:
    at = datetime(2020, 7, 17, 3, 56, 57, 87_000, tzinfo=UTC)
    assert ">2020-07-17 11:56:57</time>" in moments.moment(at)
    assert ">11:56:57</time>" in moments.clock(at)


def test_the_day_is_the_reader_s_day() -> None:
    late = MS + 13 * 3600 * 1000
    assert moments.day(late) == "2020-07-18"
    with translation.override("zh-hans"):
        assert moments.weekday(late) == "星期六"


@pytest.mark.parametrize("ms", [2**62, 253402300800000])
def test_a_number_that_is_no_date_is_shown_as_no_plausible_time(ms: int) -> None:
    assert moments.moment(ms) == moments.clock(ms) == f"time not plausible: {ms}"
    assert moments.day(ms) == moments.weekday(ms) == ""


def test_an_absent_time_is_empty() -> None:
    assert moments.moment(None) == ""


def test_the_zone_is_named_with_its_distance_from_utc() -> None:
    assert moments.zone() == "Asia/Shanghai (UTC+08:00)"


def test_a_time_carries_its_zones_distance_from_utc_on_that_day() -> None:
    assert 'data-offset="UTC+08:00"' in moments.moment(MS)
    with timezone.override(ZoneInfo("America/St_Johns")):
        assert 'data-offset="UTC-02:30"' in moments.clock(MS)
        assert 'data-offset="UTC-03:30"' in moments.clock(MS + 180 * 24 * 3600 * 1000)


NOW = datetime(2026, 11, 27, 14, 30, tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 11, 27, 14, 29, 30), "now"),
        # Clocks differ.
        (datetime(2026, 11, 27, 14, 30, 30), "now"),
        (datetime(2026, 11, 27, 14, 27), "3 min"),
        (datetime(2026, 11, 27, 13, 31), "59 min"),
        (datetime(2026, 11, 27, 13, 30), "13:30"),
        (datetime(2026, 11, 27, 0, 0), "00:00"),
        # By the reader's calendar: in UTC it is the same day.
        (datetime(2026, 11, 26, 23, 59), "Thu"),
        (datetime(2026, 11, 21, 12, 0), "Sat"),
        (datetime(2026, 11, 20, 23, 0), "20 Nov"),
        (datetime(2026, 1, 2, 12, 0), "2 Jan"),
        (datetime(2025, 12, 31, 12, 0), "31 Dec 2025"),
        (datetime(2026, 11, 27, 18, 0), "18:00"),
        (datetime(2026, 11, 28, 18, 0), "28 Nov"),
    ],
)
def test_a_list_shows_a_time_as_shortly_as_tells_it_apart(
    at: datetime, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)
    ms = int(at.replace(tzinfo=ZoneInfo("Asia/Shanghai")).timestamp() * 1000)
    assert f">{text}</time>" in moments.ago(ms)


def test_the_tooltip_of_a_short_time_has_it_here_with_its_offset_and_in_milliseconds() -> None:
    assert f'title="2020-07-17 11:56:57.087 UTC+08:00 · {MS}"' in moments.ago(MS)


def test_a_time_that_is_none_is_shown_as_its_number() -> None:
    assert moments.ago(10**18) == f"time not plausible: {10**18}"
