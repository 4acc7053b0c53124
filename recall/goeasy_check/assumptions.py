"""Assumptions about GoEasy where its documentation is silent, and a check's findings.

docs/goeasy-assumptions.md has the same list, with the places that depend on each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Result(Enum):
    """Result for one assumption."""

    HOLDS = "holds"
    FAILS = "does not hold"
    NOT_SEEN = "not seen"


@dataclass(frozen=True)
class Assumption:
    """One assumption. `is_needed`: unless it holds, the console cannot do, or cannot see, all of its work."""

    id: str
    text: str
    is_needed: bool = False


ASSUMPTIONS = (
    Assumption("key_prefix", "The key is a common key (BC-…) or a REST key (PR-…)."),
    Assumption("code_in_answers", "Every answer is a JSON object with a whole number as its code.", is_needed=True),
    Assumption("wrong_key_code", "A wrong key is refused with the code 401.", is_needed=True),
    Assumption("status_follows_code", "The HTTP status follows the code."),
    Assumption("send_accepted", "A message with senderData and to.data is accepted."),
    Assumption("sent_in_history", "What was sent is in history.", is_needed=True),
    Assumption("full_names", "Messages have the documented names (timestamp, senderId, …).", is_needed=True),
    Assumption("message_ids", "Every message has a messageId."),
    Assumption("numeric_timestamps", "Timestamps are numbers."),
    Assumption("text_ids", "Ids of users are text."),
    Assumption("object_payloads", "A payload is a JSON object."),
    Assumption("newest_first", "A page of history has its newest message first."),
    Assumption("exclusive_cursor", "lasttimestamp itself is not part of the page."),
    Assumption("limit_kept", "A page holds as many messages as were asked for while there are more."),
    Assumption("empty_end", "At its end history answers an empty page."),
    Assumption("recall_accepted", "A recall is answered with the code 200 and OK.", is_needed=True),
    Assumption("recall_effect", "Afterwards the message is marked as recalled, or absent.", is_needed=True),
    Assumption("recall_only_named", "No other message is taken back.", is_needed=True),
    Assumption("marked_not_absent", "A recalled message stays in history."),
    Assumption("boolean_mark", "It is marked by recalled: true."),
    Assumption("payload_kept", "A recalled message keeps its payload."),
    Assumption("recaller_told", "A recalled message names the recaller."),
    Assumption("full_pages", "Recalled messages do not make a page shorter."),
    Assumption("quick_mark", "History shows a recall within the verification's wait."),
    Assumption("repeated_recall", "The same recall a second time is answered with the code 200, too."),
    Assumption("webhook_delivers", "The webhook brings what is sent.", is_needed=True),
    Assumption("webhook_signature", "Its signature is of content, with this application's SecretKey.", is_needed=True),
    Assumption("webhook_form", "Its content travels as a form."),
    Assumption("webhook_array", "Its content is an array of messages."),
    Assumption("webhook_readable", "The console can read what it brings.", is_needed=True),
    Assumption("webhook_im_alone", "It brings messages of IM alone: none of customer service or PubSub."),
    Assumption("webhook_reports_recalls", "It tells of a recall, too."),
)
BY_ID = {assumption.id: assumption for assumption in ASSUMPTIONS}


@dataclass
class Finding:
    """Result for an assumption, with what was seen in a few words."""

    result: Result = Result.NOT_SEEN
    seen: str = ""


@dataclass
class Findings:
    """Findings of a check, by assumption."""

    by_id: dict[str, Finding] = field(default_factory=lambda: {each.id: Finding() for each in ASSUMPTIONS})

    def note(self, id: str, holds: bool | None, seen: str = "") -> None:  # noqa: A002 - the assumption's
        """Record whether an assumption holds; None: it was not seen, for the reason in `seen`."""
        result = Result.NOT_SEEN if holds is None else Result.HOLDS if holds else Result.FAILS
        self.by_id[id] = Finding(result, seen)

    @property
    def has_failed(self) -> bool:
        """Whether a needed assumption does not hold."""
        return any(BY_ID[id].is_needed and each.result == Result.FAILS for id, each in self.by_id.items())

    def as_list(self) -> list[dict[str, object]]:
        """For the document, in the table's order."""
        return [
            {
                "id": each.id,
                "assumption": each.text,
                "needed": each.is_needed,
                "result": self.by_id[each.id].result.value,
                "seen": self.by_id[each.id].seen,
            }
            for each in ASSUMPTIONS
        ]
