"""Progress of recalls and sweeps, computed from their batches."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import BooleanField, Count, ExpressionWrapper, QuerySet, Sum

from moderation.archive.names import titled
from recall.models import BEING_CHECKED, Recall, RecallBatch, Sweep


@dataclass(frozen=True)
class Progress:
    """Progress of a recall in batches (calls) and timestamps, by the batches' state.

    The others are numbers of timestamps. `unknown`: of calls whose outcome neither answer nor history shows. `visible`:
    of calls with messages that history still shows. `unusual`: of calls accepted with an answer that may name messages
    that were not taken back. `checking`: of calls for which history is about to be read. `settled`: of accepted calls
    that were settled afterwards.
    """

    calls: int
    timestamps: int
    batches: dict[str, int]
    sizes: dict[str, int]
    unknown: int = 0
    visible: int = 0
    unusual: int = 0
    checking: int = 0
    settled: int = 0

    @property
    def final_calls(self) -> int:
        """Calls whose outcome will not change by itself."""
        return self.calls - self.batches.get("pending", 0) - self.batches.get("sending", 0)

    @property
    def outcome(self) -> str:
        """The outcome, the worst state first: unknown, refused, sending, pending, cancelled, accepted."""
        for state in ("unknown", "refused", "sending", "pending", "cancelled"):
            if self.batches.get(state):
                return state
        return "accepted"


def progress_of(recalls: Sequence[Recall]) -> dict[UUID, Progress]:
    """The progress of each of `recalls`, in one query."""
    counts = _counted(RecallBatch.objects.filter(recall__in=recalls), "recall")
    return {recall.pk: _progress(counts[recall.pk]) for recall in recalls}


def progress_of_sweeps(sweeps: Sequence[Sweep]) -> dict[UUID, Progress]:
    """The sum of the progress of the recalls of each of `sweeps`, in one query."""
    counts = _counted(RecallBatch.objects.filter(recall__sweep__in=sweeps), "recall__sweep")
    return {sweep.pk: _progress(counts[sweep.pk]) for sweep in sweeps}


def _counted(batches: QuerySet[RecallBatch], of: str) -> dict[UUID, list[tuple[str, str, bool, int, int]]]:
    """Rows of (state, settlement, is being checked, batches, timestamps), grouped by the field `of`."""
    rows: dict[UUID, list[tuple[str, str, bool, int, int]]] = defaultdict(list)
    checked = batches.annotate(checking=ExpressionWrapper(BEING_CHECKED, output_field=BooleanField())).order_by()
    for key, *row in checked.values_list(of, "state", "settlement", "checking").annotate(Count("pk"), Sum("size")):
        rows[key].append(tuple(row))
    return rows


def _progress(rows: list[tuple[str, str, bool, int, int]]) -> Progress:
    """Sum up `rows`: batches and timestamps by state and settlement."""
    batches: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    settled: Counter[tuple[str, str]] = Counter()
    checking = 0
    for state, settlement, is_checked, number, size in rows:
        batches[state] += number
        sizes[state] += size
        settled[state, settlement] += size
        checking += size if is_checked else 0
    return Progress(
        calls=batches.total(),
        timestamps=sizes.total(),
        batches=dict(batches),
        sizes=dict(sizes),
        unknown=settled["unknown", ""],
        visible=sum(settled[state, "visible"] for state in ("unknown", "refused", "accepted")),
        unusual=settled["accepted", "unusual"],
        checking=checking,
        settled=settled["accepted", "gone"] + settled["accepted", "decided"],
    )


def with_progress(recalls: Iterable[Recall]) -> list[Recall]:
    """The same recalls, each with `progress` and its conversation's title; two queries for all of them."""
    recalls = list(recalls)
    titled(recall.conversation for recall in recalls)
    progress = progress_of(recalls)
    for recall in recalls:
        recall.progress = progress[recall.pk]  # type: ignore[attr-defined]
    return recalls
