"""What was sent and recorded of a recall, for the tests of the outbox."""

from __future__ import annotations

from recall.models import Recall

FIRST = 1_700_000_000_000


def states(recall: Recall) -> list[str]:
    return list(recall.batches.order_by("index").values_list("state", flat=True))
