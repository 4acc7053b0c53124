"""Deliveries of a check's messages, as the web processes store them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from moderation.applications.models import Application
from moderation.goeasy.answers import json_text, json_value
from moderation.ingestion import feed
from moderation.ingestion.models import FeedCount, WebhookDelivery
from recall.goeasy_check.assumptions import Findings

# Interval between two queries, and the wait for further deliveries (seconds).
LOOK_EVERY = 0.25
AFTERWARDS = 2.0
# Deliveries read, and bytes of each kept in the file.
MAX_DELIVERIES = 500
MAX_SAMPLE = 4_000
# Counts of deliveries that were refused for their signature.
BAD_SIGNATURES = (feed.Metric.WRONG_SIGNATURE, feed.Metric.UNSIGNED)


class Watch:
    """Deliveries since its creation, and the number refused meanwhile."""

    def __init__(self, application: Application, nonce: str) -> None:
        self.application = application
        self.nonce = nonce
        # Clocks of several machines differ a little.
        self.since = timezone.now() - timedelta(seconds=5)
        self.began = time.monotonic()
        self.hour = feed.hour_of(timezone.now())
        self.counts = self.refused()
        self.took: float | None = None
        self.expected = 0
        self.secret_problem = application.secret_problem

    def refused(self) -> dict[str, int]:
        """Counts by kind since the start of the hour in which the watch began."""
        rows = FeedCount.objects.filter(application=self.application, hour__gte=self.hour)
        return dict(rows.values_list("what").annotate(number=Sum("number")))

    def deliveries(self) -> list[WebhookDelivery]:
        """All deliveries since the watch began, oldest first."""
        rows = WebhookDelivery.objects.filter(application=self.application, received_at__gte=self.since)
        return list(rows.order_by("received_at")[:MAX_DELIVERIES])

    def ours(self) -> list[WebhookDelivery]:
        """The deliveries that hold messages of the check."""
        return [each for each in self.deliveries() if self.nonce.encode() in bytes(each.content)]

    def times_delivered(self, number: int) -> int:
        """How often the check's message with this number was delivered."""
        name = f"{self.nonce}-{number}".encode()
        return sum(bytes(each.content).count(name) for each in self.ours())

    def wait(self, seconds: float, messages: int, say: Callable[[str], None]) -> None:
        """Wait until all `messages` are delivered, or `seconds` after the watch began."""
        self.expected = messages
        if self.secret_problem:
            return
        say("Waiting for the webhook …")
        while time.monotonic() < self.began + seconds:
            if all(self.times_delivered(number) for number in range(1, messages + 1)):
                self.took = time.monotonic() - self.began
                # A recall may be delivered a moment later; the worker reads large deliveries.
                time.sleep(AFTERWARDS)
                return
            if self.bad_signatures() >= 3:
                return
            time.sleep(LOOK_EVERY)

    def bad_signatures(self) -> int:
        """Number of deliveries refused for their signature since the watch began."""
        now = self.refused()
        return sum(max(0, now.get(name, 0) - self.counts.get(name, 0)) for name in BAD_SIGNATURES)

    def note(self, findings: Findings, measured: dict[str, float]) -> None:
        """Record the findings."""
        if self.secret_problem:
            why = {
                "not_configured": "the application has no SecretKey",
                "key_unreadable": "the application's stored SecretKey cannot be opened",
            }
            findings.note("webhook_delivers", None, why[self.secret_problem])
            return
        ours, bad = self.ours(), self.bad_signatures()
        if bad and not ours:
            seen = f"{bad} deliveries with another signature: a wrong SecretKey, or one of the whole body"
            findings.note("webhook_signature", False, seen)
            findings.note("webhook_delivers", None, "what came was refused")
            return
        if not ours:
            findings.note("webhook_delivers", None, "nothing came; is it switched on in GoEasy's console?")
            return
        delivered = sum(bool(self.times_delivered(number)) for number in range(1, self.expected + 1))
        findings.note("webhook_delivers", delivered == self.expected, f"{delivered} of {self.expected}")
        findings.note("webhook_signature", not bad, f"{bad} refused" if bad else "")
        if self.took is not None:
            measured["webhook_s"] = round(self.took, 3)
        forms = {each.form for each in ours if each.form}
        if forms:
            findings.note("webhook_form", forms == {"form"}, ", ".join(sorted(forms)))
        values = [json_of(each) for each in ours]
        is_array = all(isinstance(value, list) and all(isinstance(part, dict) for part in value) for value in values)
        findings.note("webhook_array", is_array, "" if is_array else type(values[0]).__name__)
        unread = [each for each in ours if each.state == WebhookDelivery.State.UNREAD]
        waiting = [each for each in ours if each.state == WebhookDelivery.State.WAITING]
        findings.note(
            "webhook_readable",
            False if unread else None if waiting else True,
            unread[0].problem if unread else "the worker has not read it yet" if waiting else "",
        )
        others = sorted({kind for each in self.deliveries() for kind in other_kinds(json_of(each))})
        findings.note("webhook_im_alone", False if others else None, ", ".join(others))
        # The newest message is the one that was taken back by itself.
        again = self.times_delivered(self.expected) > 1
        findings.note("webhook_reports_recalls", True if again else None, "" if again else "nothing came of it yet")

    def samples(self) -> list[dict[str, Any]]:
        """The check's own deliveries, for the file."""
        return [
            {
                "step": "webhook",
                "state": each.state,
                "content": bytes(each.content)[:MAX_SAMPLE].decode(errors="replace"),
            }
            for each in self.ours()
            # Skip deliveries that hold other people's messages.
            if not self.is_mixed(each)
        ]

    def is_mixed(self, delivery: WebhookDelivery) -> bool:
        """Whether a delivery holds messages that the check did not send."""
        return sum(1 for _each in members(json_of(delivery))) > bytes(delivery.content).count(self.nonce.encode())


def json_of(delivery: WebhookDelivery) -> Any:
    """A delivery's content as JSON; None when it is not JSON."""
    try:
        return json_value(json_text(bytes(delivery.content)))
    except ValueError:
        return None


def members(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The objects in a delivery that carry a time, in any envelope."""
    if depth > 6:
        return
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = json_value(value.strip())
        except ValueError:
            return
    if isinstance(value, dict) and {"timestamp", "ts"} & set(value):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from members(part, depth + 1)


def other_kinds(value: Any) -> Iterator[str]:
    """What a delivery holds besides messages of IM."""
    for member in members(value):
        if "channel" in member and "content" in member:
            yield "PubSub"
        elif "teamId" in member or isinstance(member.get("to"), str):
            yield "customer service"
