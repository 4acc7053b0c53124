"""The steps of a check: send, read, recall, read again, wait for the webhook.

Only messages that the check itself sent are recalled, and each request is recorded before it is sent.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from moderation.applications.models import Application
from moderation.audit.request_context import current_actor
from moderation.audit.services import record
from moderation.goeasy.answers import Answer, HistoryPage
from moderation.goeasy.client import (
    MAX_HISTORY_LIMIT,
    Client,
    Private,
    Recaller,
    prepare_recall,
    prepare_send,
)
from moderation.goeasy.errors import GoEasyError, NotSent, Refused
from moderation.outbox import admission
from recall.events import GoEasyChecked
from recall.goeasy_check import webhook
from recall.goeasy_check.assumptions import Findings, Result
from recall.goeasy_check.messages import ID, PAYLOAD, SENDER, RawMessage, of_page, size_of

# Messages to send; one is recalled and checked, then the others.
MESSAGES = 3
# Pages that are read on the way to the end of history.
MAX_PAGES = 10
# Interval between two reads (seconds).
LOOK_EVERY = 0.25
# Factor on the measured time: one measurement is not the longest time.
MARGIN = 2
MIN_VERIFY_AFTER = 2
TEXT = "A check of the moderation console; it is taken back in a moment."


class CheckFailed(Exception):
    """The check cannot go on; the text says why."""


@dataclass
class Check:
    """A check of one application with a pair of users who agreed to it."""

    application: Application
    pair: Private
    # Seconds that history and webhook have to show a change.
    wait: float
    say: Callable[[str], None]
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    findings: Findings = field(default_factory=Findings)
    # What GoEasy answered, in order: for the file.
    answers: list[dict[str, Any]] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    # Messages that may have been sent, and those that GoEasy says it took back.
    sent: int = 0
    taken_back: int = 0

    def run(self) -> None:
        """Do all steps. Raises CheckFailed when GoEasy cannot be used at all."""
        self.log("began", messages=MESSAGES)
        with self.application.client() as client:
            self.client = client
            self.look_at_the_key()
            self.try_a_wrong_key()
            self.first_read()
            seen_by_webhook = webhook.Watch(self.application, self.nonce)
            self.send()
            sent = self.find_sent()
            if sent:
                self.look_at_form(sent)
                self.look_at_pages(sent)
                self.take_back(sent)
            seen_by_webhook.wait(self.wait if sent else 0, MESSAGES, self.say)
            seen_by_webhook.note(self.findings, self.measured)
            self.answers += seen_by_webhook.samples()

    # What leaves.

    def log(self, step: str, **fields: Any) -> None:
        """Record a step in the audit log; `fields` as of `GoEasyChecked`."""
        user_a, user_b = sorted((self.pair.user_a, self.pair.user_b))
        record(
            GoEasyChecked(
                actor=current_actor(),
                app=self.application.slug,
                conversation={"kind": "private", "user_a": user_a, "user_b": user_b},
                step=step,
                check=self.nonce,
                **fields,
            )
        )

    def call(
        self, step: str, make: Callable[[], Answer | HistoryPage], request: Mapping[str, object] | None = None
    ) -> Answer | HistoryPage | GoEasyError:
        """Make one call at the application's pace and keep its result; `request`: the body of a call with an effect."""
        if request is not None:
            self.log(f"{step}, about to be sent", request=request)
        admission.wait_for_pace(self.application)
        came: Answer | HistoryPage | GoEasyError
        try:
            came = make()
        except GoEasyError as error:
            came = error
        answer = came.answer if isinstance(came, HistoryPage) else getattr(came, "answer", came)
        response_fields: dict[str, Any] = {"problem": came.kind} if isinstance(came, GoEasyError) else {}
        if isinstance(answer, Answer):
            response_fields |= {
                "http_status": answer.http_status,
                "response_code": answer.code,
                "latency_ms": answer.latency_ms,
            }
            if answer.is_malformed:
                self.findings.note("code_in_answers", False, f"{step}: HTTP status {answer.http_status}, no code")
            elif self.findings.by_id["code_in_answers"].result == Result.NOT_SEEN:
                self.findings.note("code_in_answers", True)
        if request is not None:
            self.log(f"{step}, answered", **response_fields)
        kept: dict[str, Any] = {"step": step, "request": request, **response_fields}
        if isinstance(came, HistoryPage):
            # Of the pair's other messages only how many there are.
            kept |= {"messages": size_of(came), "ours": [each.raw for each in of_page(came) if self.nonce in each.raw]}
        elif isinstance(answer, Answer):
            kept["content"] = answer.content
        self.answers.append(kept)
        return came

    def read(self, step: str, *, before: int | None = None, limit: int = MAX_HISTORY_LIMIT) -> HistoryPage | None:
        """A page of the pair's history; None when it could not be read."""
        page = self.call(step, lambda: self.client.history(target=self.pair, limit=limit, before=before))
        return page if isinstance(page, HistoryPage) else None

    def recall(self, step: str, timestamps: list[int], recaller: Recaller | None) -> Answer | GoEasyError:
        """Take back messages that this check sent."""
        prepared = prepare_recall(target=self.pair, timestamps=timestamps, recaller=recaller)
        came = self.call(step, lambda: self.client.perform(prepared), request=prepared.shown(self.application.appkey()))
        assert not isinstance(came, HistoryPage)  # noqa: S101 - for the type checker
        if isinstance(came, Answer):
            self.taken_back += len(timestamps)
        return came

    # The steps.

    def look_at_the_key(self) -> None:
        """Check the kind of key by its prefix."""
        prefix = self.application.appkey()[:3]
        is_shown = prefix in {"BC-", "PR-", "BS-"}
        self.findings.note("key_prefix", prefix in {"BC-", "PR-"}, f"{prefix}…" if is_shown else "another beginning")

    def try_a_wrong_key(self) -> None:
        """Read history with an invalid key to see how GoEasy refuses it."""
        self.say("Reading history with a wrong key …")
        wrong = Client(
            appkey="BC-" + "0" * 32,
            rest_host=self.application.rest_host,
            allowed_hosts=settings.GOEASY_ALLOWED_HOSTS,
        )
        with wrong:
            came = self.call("wrong key", lambda: wrong.history(target=self.pair, limit=1))
        answer = came.answer if isinstance(came, HistoryPage) else getattr(came, "answer", None)
        if answer is None or answer.code is None:
            return
        self.findings.note("wrong_key_code", answer.code == 401, f"code {answer.code}")
        if answer.code != 200:
            seen = f"code {answer.code}, HTTP status {answer.http_status}"
            self.findings.note("status_follows_code", answer.code == answer.http_status, seen)

    def first_read(self) -> None:
        """Read history before anything is sent; raise CheckFailed when that is impossible."""
        self.say("Reading history …")
        came = self.call("history before", lambda: self.client.history(target=self.pair))
        if isinstance(came, GoEasyError):
            raise CheckFailed(f"History cannot be read, so nothing was sent: {came}")

    def send(self) -> None:
        """Send the messages."""
        self.say(f"Sending {MESSAGES} messages …")
        self.sent_at = time.monotonic()
        for number in range(1, MESSAGES + 1):
            prepared = prepare_send(**self.message(number))
            request = prepared.shown(self.application.appkey())
            came = self.call("send", lambda prepared=prepared: self.client.perform(prepared), request)  # type: ignore[misc]
            self.sent += not isinstance(came, (NotSent, Refused))
            if isinstance(came, GoEasyError):
                self.findings.note("send_accepted", False, str(came))
            elif number == 1:
                self.findings.note("send_accepted", True)
            # Two messages in one millisecond could not be distinguished.
            time.sleep(0.05)

    def message(self, number: int) -> dict[str, Any]:
        """The check's message with this number, as `Client.send` takes it."""
        return {
            "sender_id": self.pair.user_a,
            "to": ("private", self.pair.user_b),
            "type": "text",
            "payload": {"text": f"{TEXT} ({self.nonce}-{number})"},
            "sender_data": {"name": self.pair.user_a},
            "to_data": {"name": self.pair.user_b},
        }

    def find_sent(self) -> list[RawMessage]:
        """The messages as history has them, newest first: those that their time alone identifies."""
        deadline = time.monotonic() + self.wait
        while True:
            page = self.read("history after the send")
            elements = of_page(page) if page else []
            ours = [each for each in elements if self.nonce in each.raw]
            if len(ours) >= MESSAGES or time.monotonic() > deadline:
                break
            time.sleep(LOOK_EVERY)
        if not ours:
            seen = "" if page else "history could not be read"
            self.findings.note("sent_in_history", None if page is None else False, seen)
            return []
        self.findings.note("sent_in_history", len(ours) == MESSAGES, f"{len(ours)} of {MESSAGES}")
        self.measured["sent_shown_s"] = round(time.monotonic() - self.sent_at, 3)
        times = [each.timestamp for each in elements]
        self.look_at_names(ours)
        # A recall takes back whatever has that millisecond: somebody else's message must not be there.
        return sorted(
            (each for each in ours if each.timestamp and times.count(each.timestamp) == 1),
            key=lambda each: -(each.timestamp or 0),
        )

    def look_at_names(self, ours: list[RawMessage]) -> None:
        """Check the names and types of a message's members."""
        message = ours[0]
        is_full = {"timestamp", "senderId", "payload", "type"} <= set(message.data)
        self.findings.note("full_names", is_full, "" if is_full else ", ".join(sorted(message.data)))
        self.findings.note("message_ids", isinstance(message.member(ID), str))
        time_ = message.data.get("timestamp", message.data.get("ts"))
        self.findings.note("numeric_timestamps", type(time_) is int, json.dumps(time_)[:40])
        sender = message.member(SENDER)
        # Only an id of digits could have been written as a number.
        could_be_a_number = self.pair.user_a.isdigit()
        is_text = isinstance(sender, str)
        self.findings.note("text_ids", None if is_text and not could_be_a_number else is_text, json.dumps(sender)[:40])
        payload = message.member(PAYLOAD)
        self.findings.note("object_payloads", isinstance(payload, dict), type(payload).__name__)

    def look_at_form(self, sent: list[RawMessage]) -> None:
        """Check the order within a page, and whether the cursor is exclusive."""
        newest = sent[0].timestamp or 0
        if page := self.read("history for its order"):
            times = [each.timestamp or 0 for each in of_page(page)]
            is_falling, is_rising = times == sorted(times, reverse=True), times == sorted(times)
            self.findings.note("newest_first", None if is_falling and is_rising else is_falling)
        if page := self.read("history before our newest", before=newest):
            is_there = any(each.timestamp == newest for each in of_page(page))
            self.findings.note("exclusive_cursor", not is_there)

    def look_at_pages(self, sent: list[RawMessage]) -> None:
        """Check that pages are full while there is more, and what the end looks like."""
        self.say("Reading history to its end …")
        before: int | None = None
        lengths: list[int] = []
        for _page in range(MAX_PAGES):
            if (page := self.read("history, page by page", before=before)) is None:
                return
            times = [each.timestamp for each in of_page(page) if each.timestamp]
            older = [time_ for time_ in times if before is None or time_ < before]
            if not older:
                self.findings.note("empty_end", not size_of(page), f"{size_of(page)} messages at the end")
                break
            lengths.append(size_of(page))
            before = min(older)
        # The last page may be short: history ends there.
        short = [length for length in lengths[:-1] if length < MAX_HISTORY_LIMIT]
        enough = None if len(lengths) < 2 else not short
        seen = f"{min(short)} of {MAX_HISTORY_LIMIT}, and there were more" if short else f"{sum(lengths)} messages read"
        self.findings.note("limit_kept", enough, seen)

    def take_back(self, sent: list[RawMessage]) -> None:
        """Recall the newest message, check the effect, and recall the others."""
        message, others = sent[0], sent[1:]
        timestamp = message.timestamp or 0
        recaller = None
        if self.application.recaller_id or self.application.recaller_data:
            recaller = Recaller(self.application.recaller_id, self.application.recaller_data)
        self.say("Taking one of them back …")
        came = self.recall("recall", [timestamp], recaller)
        if isinstance(came, Answer):
            self.findings.note("recall_accepted", came.content == "OK", f"code {came.code}, {came.content[:60]}")
        else:
            self.findings.note("recall_accepted", False, str(came))
        self.watch_it_go(timestamp, recaller, others)
        taken_back = self.taken_back
        again = self.recall("the same recall again", [timestamp], recaller)
        # It is still one message.
        self.taken_back = max(taken_back, int(isinstance(again, Answer)))
        self.findings.note(
            "repeated_recall", isinstance(again, Answer), "" if isinstance(again, Answer) else str(again)
        )
        if others:
            self.say("Taking the others back …")
            self.recall("recall of the others", [each.timestamp or 0 for each in others], None)

    def watch_it_go(self, timestamp: int, recaller: Recaller | None, others: list[RawMessage]) -> None:
        """Read history until the message is marked or absent, or the wait is over."""
        began = time.monotonic()
        while True:
            page = self.read("history after the recall", before=timestamp + 1)
            mine = [each for each in of_page(page) if each.timestamp == timestamp] if page else []
            is_gone = page is not None and all(each.mark for each in mine)
            took = time.monotonic() - began
            if is_gone or took > self.wait:
                break
            time.sleep(LOOK_EVERY)
        if page is None:
            return
        if not is_gone:
            self.findings.note("recall_effect", False, f"still there after {took:.0f} s")
            return
        if not mine and not others:
            # Absence proves something only while something older is there.
            return
        self.measured["recall_shown_s"] = round(took, 3)
        self.findings.note("recall_effect", True, mine[0].mark if mine else "absent")
        limit = self.application.verify_after
        self.findings.note("quick_mark", took <= limit, f"{took:.1f} s of {limit:g} s")
        self.findings.note("marked_not_absent", bool(mine), "" if mine else "absent")
        elements = of_page(page)
        kept = [each for each in elements if each.timestamp in {other.timestamp for other in others}]
        if others:
            alone = len(kept) == len(others) and not any(each.mark for each in kept)
            self.findings.note("recall_only_named", alone)
        if mine:
            self.findings.note("boolean_mark", mine[0].data.get("recalled") is True, mine[0].mark)
            self.findings.note("payload_kept", bool(mine[0].member(PAYLOAD)))
            if recaller:
                self.findings.note("recaller_told", "recaller" in mine[0].data)
        if len(others) >= 2:
            self.look_at_short_page(timestamp)

    def look_at_short_page(self, timestamp: int) -> None:
        """Check that a page with the recalled message is filled up with older ones."""
        if page := self.read("a page of two with the recalled one", before=timestamp + 1, limit=2):
            self.findings.note("full_pages", size_of(page) == 2, f"{size_of(page)} of 2")

    # What follows from it.

    def verify_after(self) -> int | None:
        """Seconds to wait before a verification, from what was measured; None when nothing was."""
        if (took := self.measured.get("recall_shown_s")) is None:
            return None
        return min(3600, max(MIN_VERIFY_AFTER, math.ceil(took * MARGIN)))
