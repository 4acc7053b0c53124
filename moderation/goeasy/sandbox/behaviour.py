"""Switches for how the sandbox behaves where GoEasy's documentation leaves it open: one for each assumption.

docs/goeasy-assumptions.md lists them and what depends on each. By default the sandbox behaves as the console expects
GoEasy to.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any


def switch(help: str) -> Any:  # noqa: A002 - argparse's name
    """A switch that is off by default."""
    return field(default=False, metadata={"help": help})


def choice(help: str, *choices: str) -> Any:  # noqa: A002
    """One of several behaviours; the first is the default."""
    return field(default=choices[0], metadata={"help": help, "choices": choices})


def amount(help: str, default: float, low: float, high: float) -> Any:  # noqa: A002
    """A number from `low` to `high`; an integer if the default is one."""
    return field(default=default, metadata={"help": help, "range": (low, high)})


@dataclass(frozen=True)
class Behaviour:
    """The switches: options of `goeasy_sandbox` and members of the body of `POST /sandbox/behaviour`."""

    # Answers
    http_200_always: bool = switch("the HTTP status is 200 whatever the body's code is")
    recall_code: int = amount("the code of the answer to a recall that had an effect, such as 408", 200, 200, 599)
    recall_again_code: int = amount(
        "the code of the answer to a recall of messages that are all recalled already", 200, 200, 599
    )
    recall_reports_failures: bool = switch(
        "a recall has no effect, and its answer with code 200 lists the messages as failed"
    )
    recall_ignores_older_than: float = amount(
        "recalls of messages older than this (seconds) are accepted without effect", 0.0, 0, 1e9
    )
    send_needs_data: bool = switch("a send without senderData and to.data is refused")
    # Recalled messages in history
    mark_delay: float = amount("seconds until history shows that a message was recalled", 0.0, 0, 3600)
    history_drops_recalled: bool = switch("history omits recalled messages; pages are still full")
    history_filters_after_limit: bool = switch("history omits recalled messages from each page: short pages")
    history_marks_recalled_as: str = choice(
        "how history marks a recalled message", "true", "1", '"true"', "rc", "recaller"
    )
    recalled_stripped: bool = switch("a recalled message has no payload")
    # Pages of history
    page_cap: int = amount("maximum messages per page, whatever limit is requested", 30, 1, 30)
    cursor_inclusive: bool = switch("lasttimestamp itself is part of the page: the last page is never empty")
    history_oldest_first: bool = switch("a page starts with its oldest message")
    # The form of messages, in history and in the webhook
    timestamps_as_text: bool = switch("timestamps are strings of digits")
    numeric_ids: bool = switch("numeric ids of users and groups are numbers")
    payload_as_text: bool = switch("payload and senderData are strings of JSON")
    abbreviated: bool = switch("fields have the SDK's short names: s, i, ts, mt, p, d, rc")
    # The webhook
    webhook_as: str = choice("encoding of the webhook's content", "form", "json", "multipart")
    webhook_wraps: str = choice("structure around the messages of a delivery", "array", "object", "envelope", "text")
    webhook_packs: int = amount("maximum messages per delivery", 1, 1, 10_000)
    webhook_mixed_cs: bool = switch("each delivery also has a customer-service message")
    webhook_mixed_pubsub: bool = switch("each delivery also has a PubSub message")
    webhook_signs_body: bool = switch("the signature covers the whole body instead of content")
    webhook_reports_recalls: bool = switch("the webhook delivers a message again when it is recalled")

    @classmethod
    def parse(cls, values: Mapping[str, Any], base: Behaviour | None = None) -> Behaviour:
        """`base` with these values. Raises ValueError with a message for an unknown or invalid one."""
        switches = {each.name: each for each in fields(cls)}
        if unknown := set(values) - set(switches):
            raise ValueError(f"there is no behaviour {', '.join(sorted(unknown))}")
        return replace(base or cls(), **{name: checked(switches[name], value) for name, value in values.items()})

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add an option for each switch."""
        group = parser.add_argument_group("behaviours", "switches for what GoEasy's documentation leaves open")
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
        """Switches that differ from the default."""
        return {
            each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default
        }


def checked(behaviour: Field[Any], value: Any) -> Any:
    """`value` if it is valid for the switch. Raises ValueError with a message."""
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
