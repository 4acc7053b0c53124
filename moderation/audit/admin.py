"""The audit log in Django admin: for reading and exporting, and for nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, IntegerField, Model, QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from moderation.audit import alarms, entry_rows, jobs, timeline
from moderation.audit.events import LogDownloaded
from moderation.audit.filters import PAIR, AuditFilter, applications
from moderation.audit.ledger import export, problems
from moderation.audit.ledger.chain import Sealer
from moderation.audit.ledger.export import FORMATS
from moderation.audit.models import Action, AuditAlarm, AuditCheckpoint, AuditEntry, AuditJob, AuditSeal
from moderation.audit.services import record
from moderation.read_only_admin import (
    KeyChangeList,
    ReadOnlyAdmin,
    moment,
    moment_ms,
    pretty,
    pretty_text,
    short,
    zone_name,
)

# Entries of the same recall shown to either side of one.
NEIGHBOURS = 10


class Length(Func):
    """How many elements a JSON array has: the array itself, up to 5,000 timestamps, stays in the database."""

    function = "JSON_ARRAY_LENGTH"
    output_field = IntegerField()

    def as_postgresql(
        self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, list[Any] | tuple[Any, ...]]:
        return self.as_sql(compiler, connection, function="JSONB_ARRAY_LENGTH", **context)


def conversation_ids(entry: AuditEntry) -> str:
    """What names the entry's conversation at GoEasy, for people to read."""
    return entry.group_id if entry.kind == "group" else PAIR.join(filter(None, (entry.user_a, entry.user_b)))


def conversation_query(entry: AuditEntry) -> str:
    """The list's query string for the entries of this one's conversation."""
    query = {"conversation": conversation_ids(entry)}
    if entry.app:
        query["app" if entry.app in dict(applications()) else "other_apps"] = entry.app
    return urlencode(query)


def number(entry: AuditEntry) -> str:
    """The entry's number in the log; "…" for the seconds until it is sealed."""
    return str(entry.seal.seq) if hasattr(entry, "seal") else "…"


def code_pill(entry: AuditEntry) -> SafeString | str:
    """GoEasy's response code as a pill; empty for a step without an answer."""
    if entry.response_code is not None:
        code = entry.response_code
        state = "accepted" if code == 200 else "unknown" if code == 408 or code >= 500 else "refused"
        return format_html('<span class="pill {}">{}</span>', state, entry.response_code)
    if entry.action == Action.UNANSWERED:
        return format_html('<span class="pill unknown">{}</span>', _("no answer"))
    if entry.action == Action.ANSWERED:
        # Nobody knows what a call did that failed on its way; 503 says that it was not handled.
        status = entry.http_status or 0
        state = "refused" if status == 503 or (400 <= status < 500 and status != 408) else "unknown"
        return format_html('<span class="pill {}">{}</span>', state, _("no code"))
    return ""


class AuditChangeList(KeyChangeList):
    """A page of the log: first the keys of each branch of the filters, from an index alone, then the rows."""

    filter_form: AuditFilter

    def fetch(self, limit: int, before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[Any]:
        if not self.filter_form.is_valid():
            return []
        keys: set[tuple[Any, ...]] = set()
        for branch in self.filter_form.branches(AuditEntry.objects.all(), before, after):
            keys.update(self.ordered(branch, before, after).values_list(*self.key)[:limit])
        pks = [key[-1] for key in sorted(keys, reverse=not after)[:limit]]
        rows = {row.pk: row for row in self.root_queryset.filter(pk__in=pks)}
        return [rows[pk] for pk in pks]


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Reads and exports the log; the database refuses the rest even if this did not."""

    key = ("at", "id")
    filter_form = AuditFilter
    list_defer = ("timestamps", "request", "response_content", "detail")
    list_per_page = 100
    change_list_template = "admin/audit/auditentry/change_list.html"
    # What is looked for first: the others are scrolled to where the window is narrow.
    list_display = (
        "seq",
        "time",
        "actor_name",
        "action_name",
        "code",
        "conversation_ids",
        "recall_link",
        "app",
        "timestamp_count",
        "http_status",
        "latency",
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeyChangeList]:
        return AuditChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        counted: QuerySet[Any] = rows.select_related("seal").annotate(timestamp_count=Length("timestamps"))
        return counted

    @admin.display(description=_("no."))
    def seq(self, entry: AuditEntry) -> str:
        return number(entry)

    def get_urls(self) -> list[URLPattern]:
        pages: dict[str, tuple[str, Callable[..., HttpResponseBase]]] = {
            "export": ("export/", self.export_view),
            "verify": ("verify/", self.verify_view),
            "prepare": ("prepare/", self.prepare_view),
            "job": ("jobs/<uuid:pk>/", self.job_view),
            "download": ("jobs/<uuid:pk>/download/", self.download_view),
        }
        own = [
            path(address, self.admin_site.admin_view(view), name=f"audit_auditentry_{name}")
            for name, (address, view) in pages.items()
        ]
        return [*own, *super().get_urls()]

    @admin.display(description=_("time"))
    def time(self, entry: AuditEntry) -> SafeString | str:
        return moment(entry.at)

    @admin.display(description=_("actor"))
    def actor_name(self, entry: AuditEntry) -> SafeString:
        return short(entry.actor)

    @admin.display(description=_("action"))
    def action_name(self, entry: AuditEntry) -> SafeString:
        return format_html('<span title="{}">{}</span>', entry.action, action_label(entry))

    @admin.display(description=_("conversation"))
    def conversation_ids(self, entry: AuditEntry) -> SafeString:
        return short(conversation_ids(entry))

    @admin.display(description=_("timestamps"))
    def timestamp_count(self, entry: Any) -> Any:
        return entry.timestamp_count

    @admin.display(description=_("response code"))
    def code(self, entry: AuditEntry) -> SafeString | str:
        return code_pill(entry)

    @admin.display(description=_("latency"))
    def latency(self, entry: AuditEntry) -> str:
        return "" if entry.latency_ms is None else f"{entry.latency_ms} ms"

    @admin.display(description=_("recall"))
    def recall_link(self, entry: AuditEntry) -> SafeString | str:
        if entry.recall is None:
            return ""
        return format_html(
            '<a class="mono" href="{}" title="{}">{}</a>',
            reverse("recall", args=[entry.recall]),
            entry.recall,
            str(entry.recall)[:8],
        )

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Whether the reader may take the log away as a file."""
        return request.user.has_perm("audit.export_auditentry")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        query = request.GET.copy()
        for name in ("before", "after", "days_before", "days_after", "_changelist_filters"):
            query.pop(name, None)
        context = {
            "has_export_permission": self.has_export_permission(request),
            # The third is for machines, which ask on the command line.
            "export_formats": ["jsonl", "csv"],
            "export_query": query.urlencode(),
            "integrity": integrity(),
            "verifying": jobs.under_way(),
            "timeline": timeline.row(request.GET),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def export_view(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """The list's entries, all pages of them, as a file; the query string is the list's, with `format`."""
        if request.method not in {"GET", "HEAD"} or not self.has_export_permission(request):
            raise PermissionDenied
        form = AuditFilter(request.GET)
        kind = request.GET.get("format", "jsonl")
        if kind not in FORMATS or not form.is_valid():
            # The list says what cannot be understood.
            return HttpResponseRedirect(f"{reverse('admin:audit_auditentry_changelist')}?{request.GET.urlencode()}")
        headers = {"Content-Disposition": f'attachment; filename="{file_name(kind)}"'}
        if request.method == "HEAD":
            # Nothing is taken away, and so nothing is recorded.
            return HttpResponse(content_type=FORMATS[kind].content_type, headers=headers)
        # The worker's sealer goes through the whole log; what this page waits for is what is new.
        Sealer.near_the_end().seal()
        narrowed: Any = form.narrow(AuditEntry.objects.all())
        lines = export.lines(kind, narrowed, actor=request.user.get_username(), filters=form.given())
        return StreamingHttpResponse(
            (line.encode(errors="backslashreplace") for line in export.with_mark(kind, lines)),
            content_type=FORMATS[kind].content_type,
            headers=headers,
        )

    def verify_view(self, request: HttpRequest) -> HttpResponse:
        """Have a worker verify the log; what is under way already is shown instead."""
        if request.method != "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        job = jobs.under_way() or jobs.request_job(AuditJob.Kind.VERIFICATION)
        return redirect("admin:audit_auditentry_job", job.pk)

    def prepare_view(self, request: HttpRequest) -> HttpResponse:
        """Have a worker write an export to a file; the query string is the list's, with `format`."""
        if request.method != "POST" or not self.has_export_permission(request):
            raise PermissionDenied
        kind = request.GET.get("format", "jsonl")
        form = AuditFilter(request.GET)
        if kind not in FORMATS or not form.is_valid():
            return HttpResponseRedirect(f"{reverse('admin:audit_auditentry_changelist')}?{request.GET.urlencode()}")
        # Not the query string as it is: its times are in the reader's zone, of which the worker knows nothing.
        job = jobs.request_job(AuditJob.Kind.EXPORT, format=kind, query=urlencode(form.given(), doseq=True))
        return redirect("admin:audit_auditentry_job", job.pk)

    def job_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """How far a job is; with htmx only that."""
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request):
            raise PermissionDenied
        job = get_object_or_404(AuditJob, pk=pk)
        context = {
            **self.admin_site.each_context(request),
            "title": job.get_kind_display(),
            "opts": self.opts,
            "zone": zone_name(),
            "job": job,
            "problem": problems.translated(job.problem),
            "key_problem": key_problem(job.problem),
            "created": moment(job.created_at),
            "until": moment(job.created_at + AuditJob.KEPT),
            "may_download": self.has_export_permission(request),
        }
        request.current_app = self.admin_site.name
        template = "_job.html" if request.htmx else "job.html"  # type: ignore[attr-defined]
        return TemplateResponse(request, f"admin/audit/auditentry/{template}", context)

    def download_view(self, request: HttpRequest, pk: UUID) -> HttpResponse | FileResponse:
        """The file of an export; that it is taken away is recorded before."""
        if request.method not in {"GET", "HEAD"} or not self.has_export_permission(request):
            raise PermissionDenied
        job = get_object_or_404(AuditJob, pk=pk)
        if not job.has_file:
            raise Http404
        if request.method == "HEAD":
            return HttpResponse(content_type=FORMATS[job.format].content_type)
        file = job.file.open("rb")
        record(LogDownloaded(actor=request.user.get_username(), job=job.pk))
        return FileResponse(
            file, as_attachment=True, filename=file_name(job.format), content_type=FORMATS[job.format].content_type
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One entry to read, between its neighbours."""
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request):
            raise PermissionDenied
        entry = self.get_object(request, object_id)
        if entry is None:
            raise Http404
        list_query = request.GET.get("_changelist_filters", "")
        context = {
            **self.admin_site.each_context(request),
            # Back to the list as it was, also by way of other entries.
            "list_query": list_query,
            "kept": f"?{urlencode({'_changelist_filters': list_query})}" if list_query else "",
            "title": _("Entry %(seq)s: %(action)s") % {"seq": number(entry), "action": action_label(entry)},
            "number": number(entry),
            "opts": self.opts,
            "zone": zone_name(),
            "entry": entry,
            "action": action_label(entry),
            "time": moment(entry.at),
            "utc": f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}",
            "conversation": conversation_ids(entry),
            "conversation_query": conversation_query(entry),
            "code": code_pill(entry),
            "times": [(timestamp, moment_ms(timestamp)) for timestamp in entry.timestamps or ()],
            "request_json": pretty(entry.request) if entry.request is not None else "",
            "detail_rows": entry_rows.detail_rows(entry),
            "detail_json": pretty(entry.detail) if entry.detail else "",
            "private": (private := getattr(entry, "private", None)),
            "private_rows": entry_rows.private_rows(entry),
            "private_json": pretty_text(private.content) if private and private.content else "",
            "seal": getattr(entry, "seal", None),
            "beside": beside(entry),
            "steps": steps(entry),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/audit/auditentry/change_form.html", context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """An entry has no history: it never changes."""
        raise PermissionDenied

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("audit.view_auditentry")


def file_name(kind: str) -> str:
    """What an export is called where it is downloaded to."""
    return f"audit-log-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{kind}"


def action_label(entry: AuditEntry) -> str:
    """The action in the reader's language; one that this version does not know, as it was written."""
    return str(dict(Action.choices).get(entry.action, entry.action))


def integrity() -> dict[str, Any]:
    """What is known of the log's wholeness: its head, what waits for its seal, the last checkpoint and verification."""
    head = AuditSeal.objects.order_by("-seq").first()
    waiting = (
        AuditEntry.objects.filter(pk__gt=head.entry_id if head else 0, seal=None).order_by("pk").only("at").first()
    )
    checkpoint = AuditCheckpoint.objects.order_by("-size").defer("frontier", "note").first()
    verification = AuditEntry.objects.filter(action=Action.LOG_VERIFIED).order_by("-at", "-pk").first()
    return {
        "head": head,
        "waiting_since": waiting and moment(waiting.at),
        "checkpoint": checkpoint,
        "checkpoint_time": checkpoint and moment(checkpoint.at),
        "verification": verification,
        "verification_time": verification and moment(verification.at),
        "problem": verification and problems.translated(verification.detail.get("problem") or ""),
        "key_problem": verification and key_problem(verification.detail.get("key_problem") or ""),
        "alarms": alarms.live(),
    }


def key_problem(code: str) -> AuditAlarm | None:
    """What is wrong with the signing key, by a verification, if anything is."""
    return AuditAlarm(problem=code) if code in AuditAlarm.Problem.values else None


def beside(entry: AuditEntry) -> dict[str, AuditSeal | None]:
    """The seals of the entries directly before and after this one in the log; none of one that is not sealed."""
    if not hasattr(entry, "seal"):
        return {}
    seq = entry.seal.seq
    seals = {seal.seq: seal for seal in AuditSeal.objects.filter(seq__in=(seq - 1, seq + 1))}
    return {"previous": seals.get(seq - 1), "next": seals.get(seq + 1)}


def steps(entry: AuditEntry) -> dict[str, Any]:
    """The entries of the same recall around this one, in order, this one among them; and whether there are others."""
    if entry.recall is None:
        return {}
    same = AuditEntry.objects.filter(recall=entry.recall).defer("timestamps", "request", "response_content", "detail")
    before = list(same.filter(pk__lt=entry.pk).order_by("-pk")[: NEIGHBOURS + 1])
    after = list(same.filter(pk__gt=entry.pk).order_by("pk")[: NEIGHBOURS + 1])
    shown = [*reversed(before[:NEIGHBOURS]), entry, *after[:NEIGHBOURS]]
    return {
        "shown": [
            {"entry": each, "time": moment(each.at), "action": action_label(each), "code": code_pill(each)}
            for each in shown
        ],
        "are_earlier": len(before) > NEIGHBOURS,
        "are_later": len(after) > NEIGHBOURS,
    }
