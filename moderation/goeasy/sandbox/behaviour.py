"""How the sandbox behaves where GoEasy's documentation says nothing: a switch for each assumption.

docs/goeasy-assumptions.md lists them, with what depends on each. Without switches the sandbox behaves as the console
expects GoEasy to.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any


def switch(help: str) -> Any:  # noqa: A002 - argparse's word
    """A behaviour that is off unless it is switched on."""
    return field(default=False, metadata={"help": help})


def choice(help: str, *choices: str) -> Any:  # noqa: A002
    """One of several behaviours; the first is the default."""
    return field(default=choices[0], metadata={"help": help, "choices": choices})


def amount(help: str, default: float, low: float, high: float) -> Any:  # noqa: A002
    """A number from `low` to `high`; a whole one where the default is."""
    return field(default=default, metadata={"help": help, "range": (low, high)})


@dataclass(frozen=True)
class Behaviour:
    """The switches. Each is an option of `goeasy_sandbox`, and a member of what `POST /sandbox/behaviour` takes."""

    # Answers
    http_200_always: bool = switch("the HTTP status is 200 whatever the body's code is")
    recall_code: int = amount("the code that a recall is answered with after its effect, such as 408", 200, 200, 599)
    recall_again_code: int = amount("the code for a recall of which every message is recalled already", 200, 200, 599)
    recall_reports_failures: bool = switch("a recall has no effect, and its 200 lists the messages as failed")
    recall_ignores_older_than: float = amount("accept recalls of older messages (seconds) without effect", 0.0, 0, 1e9)
    send_needs_data: bool = switch("a send without senderData and to.data is refused")
    # Recalled messages in history
    mark_delay: float = amount("seconds until history shows that a message was recalled", 0.0, 0, 3600)
    history_drops_recalled: bool = switch("history leaves recalled messages out; pages are full all the same")
    history_filters_after_limit: bool = switch("history leaves recalled messages out of each page: short pages")
    history_marks_recalled_as: str = choice(
        "how history marks a recalled message", "true", "1", '"true"', "rc", "recaller"
    )
    recalled_stripped: bool = switch("a recalled message has no payload")
    # Pages of history
    page_cap: int = amount("messages that a page holds at most, whatever limit is asked for", 30, 1, 30)
    cursor_inclusive: bool = switch("lasttimestamp itself is part of the page: the last page never becomes empty")
    history_oldest_first: bool = switch("a page has its oldest message first")
    # The form of messages, in history and in the webhook
    timestamps_as_text: bool = switch("timestamps are digits in a text")
    numeric_ids: bool = switch("ids of users and groups that are digits are numbers")
    payload_as_text: bool = switch("payload and senderData are JSON inside a text")
    abbreviated: bool = switch("the members have the names that the SDK uses on the wire: s, i, ts, mt, p, d, rc")
    # The webhook
    webhook_as: str = choice("how the webhook's content travels", "form", "json", "multipart")
    webhook_wraps: str = choice("what surrounds the messages of a delivery", "array", "object", "envelope", "text")
    webhook_packs: int = amount("messages that one delivery packs at most", 1, 1, 10_000)
    webhook_mixed_cs: bool = switch("each delivery holds a customer-service message, too")
    webhook_mixed_pubsub: bool = switch("each delivery holds a PubSub message, too")
    webhook_signs_body: bool = switch("the signature is of the whole body instead of content")
    webhook_reports_recalls: bool = switch("the webhook delivers a message again when it is recalled")

    @classmethod
    def parse(cls, values: Mapping[str, Any], base: Behaviour | None = None) -> Behaviour:
        """`base` with these behaviours; raises ValueError with a sentence for an unknown one."""
        known = {each.name: each for each in fields(cls)}
        if unknown := set(values) - set(known):
            raise ValueError(f"there is no behaviour {', '.join(sorted(unknown))}")
        return replace(base or cls(), **{name: checked(known[name], value) for name, value in values.items()})

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """An option for each behaviour."""
        group = parser.add_argument_group("behaviours", "what GoEasy's documentation leaves open")
        for each in fields(cls):
            option, metadata = f"--{each.name.replace('_', '-')}", each.metadata
            if isinstance(each.default, bool):
                group.add_argument(option, action="store_true", help=metadata["help"])
                continue
            group.add_argument(
                option,
                type=str if isinstance(each.default, str) else type(each.default),
                default=each.default,
                choices=metadata.get("choices"),
                help=f"{metadata['help']} (default: {each.default})",
            )

    def changed(self) -> dict[str, Any]:
        """The behaviours that are not the default."""
        return {
            each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default
        }


def checked(behaviour: Field[Any], value: Any) -> Any:
    """`value` if the behaviour can have it; raises ValueError with a sentence."""
    assert behaviour.default is not MISSING  # noqa: S101 - for the type checker
    name, default = behaviour.name, behaviour.default
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name} is true or false")
    elif isinstance(default, str):
        if value not in behaviour.metadata["choices"]:
            raise ValueError(f"{name} is one of {', '.join(behaviour.metadata['choices'])}")
    else:
        low, high = behaviour.metadata["range"]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
        if not is_number or (isinstance(default, int) and not isinstance(value, int)):
            whole = "a whole number" if isinstance(default, int) else "a number"
            raise ValueError(f"{name} is {whole} from {low:g} to {high:g}")
    return value
