"""The audit log in Django admin: read-only, with verification and export."""

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

from moderation.audit import alarms, columns, entry_rows, jobs, timeline
from moderation.audit.entry_display import (
    code_pill,
    conversation_query,
    entry_number,
    neighbours,
    recall_steps,
)
from moderation.audit.events import LogDownloaded
from moderation.audit.filters import AuditFilter
from moderation.audit.ledger import export, problems
from moderation.audit.ledger.chain import Sealer
from moderation.audit.ledger.export import FORMATS
from moderation.audit.models import Action, AuditAlarm, AuditCheckpoint, AuditEntry, AuditJob, AuditSeal
from moderation.audit.sections import sections_of
from moderation.audit.sentences import Labels, sentence_of
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


class Length(Func):
    """Length of a JSON array, computed in the database: an array can have 5,000 timestamps."""

    function = "JSON_ARRAY_LENGTH"
    output_field = IntegerField()

    def as_postgresql(
        self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, list[Any] | tuple[Any, ...]]:
        return self.as_sql(compiler, connection, function="JSONB_ARRAY_LENGTH", **context)


class AuditChangeList(KeyChangeList):
    """A page of the log. Selects the keys of each branch of the filters from an index, then the rows."""

    filter_form: AuditFilter

    def fetch(self, limit: int, before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[Any]:
        if not self.filter_form.is_valid():
            return []
        keys: set[tuple[Any, ...]] = set()
        for rows, names in self.filter_form.branches(before, after):
            keys.update(self.ordered(rows, before, after, names).values_list(*names)[:limit])
        pks = [key[-1] for key in sorted(keys, reverse=not after)[:limit]]
        by_key = {row.pk: row for row in self.root_queryset.filter(pk__in=pks)}
        labels = Labels()
        for row in by_key.values():
            row.sentence = sentence_of(row, labels)
        return [by_key[pk] for pk in pks]


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Read-only pages of the log. The database refuses changes, too."""

    key = ("at", "id")
    filter_form = AuditFilter
    list_defer = ("timestamps", "request", "response_content")
    list_per_page = 100
    change_list_template = "admin/audit/auditentry/change_list.html"
    # Every column; a person chooses among those of `columns.CHOICES`.
    list_display = ("seq", "time", "sentence", "code", *columns.CHOICES)
    list_display_links = ("seq", "sentence")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeyChangeList]:
        return AuditChangeList

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        hidden = set(columns.CHOICES) - set(columns.chosen(request))
        return tuple(str(name) for name in self.list_display if name not in hidden)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        counted: QuerySet[Any] = rows.select_related("seal").annotate(timestamp_count=Length("timestamps"))
        return counted

    @admin.display(description=_("no."))
    def seq(self, entry: AuditEntry) -> str:
        return entry_number(entry)

    def get_urls(self) -> list[URLPattern]:
        pages: dict[str, tuple[str, Callable[..., HttpResponseBase]]] = {
            "export": ("export/", self.export_view),
            "verify": ("verify/", self.verify_view),
            "columns": ("columns/", self.columns_view),
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

    @admin.display(description=_("what happened"))
    def sentence(self, entry: Any) -> SafeString:
        return format_html('<span translate="no">{}</span>', entry.sentence)

    @admin.display(description=_("actor"))
    def actor_name(self, entry: AuditEntry) -> SafeString:
        return short(entry.actor)

    @admin.display(description=_("action"))
    def action_name(self, entry: AuditEntry) -> SafeString:
        return format_html('<span title="{}">{}</span>', entry.action, entry.action_label)

    @admin.display(description=_("conversation"))
    def conversation_ids(self, entry: AuditEntry) -> SafeString:
        return short(entry.conversation_ids)

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
        """Whether the user may export the log."""
        return request.user.has_perm("audit.export_auditentry")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        query = request.GET.copy()
        for name in ("before", "after", "days_before", "days_after", "_changelist_filters"):
            query.pop(name, None)
        context = {
            "has_export_permission": self.has_export_permission(request),
            # Without OCSF, which is for machines and is exported on the command line.
            "export_formats": ["jsonl", "csv"],
            "export_query": query.urlencode(),
            "columns": columns.choices(request),
            "list_query": request.GET.urlencode(),
            "integrity": integrity(),
            "verifying": jobs.live_verification(),
            "timeline": timeline.row(request.GET),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def export_view(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """Export all entries of the list. The query string is the list's, with `format`."""
        if request.method not in {"GET", "HEAD"} or not self.has_export_permission(request):
            raise PermissionDenied
        form = AuditFilter(request.GET)
        kind = request.GET.get("format", "jsonl")
        if kind not in FORMATS or not form.is_valid():
            # The list shows the form's errors.
            return HttpResponseRedirect(f"{reverse('admin:audit_auditentry_changelist')}?{request.GET.urlencode()}")
        headers = {"Content-Disposition": f'attachment; filename="{file_name(kind)}"'}
        if request.method == "HEAD":
            # Nothing is exported, so nothing is recorded.
            return HttpResponse(content_type=FORMATS[kind].content_type, headers=headers)
        # Seal new entries only, as the user waits; the worker's sealer reads the whole log.
        Sealer.near_the_end().seal()
        narrowed: Any = form.narrow(AuditEntry.objects.all())
        lines = export.lines(kind, narrowed, actor=request.user.get_username(), filters=form.given())
        return StreamingHttpResponse(
            (line.encode(errors="backslashreplace") for line in export.with_mark(kind, lines)),
            content_type=FORMATS[kind].content_type,
            headers=headers,
        )

    def columns_view(self, request: HttpRequest) -> HttpResponse:
        """Remember which columns this browser shows, and go back to the list."""
        if request.method != "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        query = request.POST.get("query", "")
        response = HttpResponseRedirect(f"{reverse('admin:audit_auditentry_changelist')}{query and '?'}{query}")
        columns.remember(response, request.POST.getlist("column"))
        return response

    def verify_view(self, request: HttpRequest) -> HttpResponse:
        """Queue a verification of the log, unless there is one already, and show it."""
        if request.method != "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        job = jobs.live_verification() or jobs.request_job(AuditJob.Kind.VERIFICATION)
        return redirect("admin:audit_auditentry_job", job.pk)

    def prepare_view(self, request: HttpRequest) -> HttpResponse:
        """Queue an export to a file. The query string is the list's, with `format`."""
        if request.method != "POST" or not self.has_export_permission(request):
            raise PermissionDenied
        kind = request.GET.get("format", "jsonl")
        form = AuditFilter(request.GET)
        if kind not in FORMATS or not form.is_valid():
            return HttpResponseRedirect(f"{reverse('admin:audit_auditentry_changelist')}?{request.GET.urlencode()}")
        # Not the original query string: its times are in the reader's zone, which the worker does not know.
        job = jobs.request_job(AuditJob.Kind.EXPORT, format=kind, query=urlencode(form.given(), doseq=True))
        return redirect("admin:audit_auditentry_job", job.pk)

    def job_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show a job's progress; with htmx, only the fragment."""
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
            "until": moment(job.created_at + AuditJob.RETENTION),
            "may_download": self.has_export_permission(request),
        }
        request.current_app = self.admin_site.name
        template = "_job.html" if request.htmx else "job.html"  # type: ignore[attr-defined]
        return TemplateResponse(request, f"admin/audit/auditentry/{template}", context)

    def download_view(self, request: HttpRequest, pk: UUID) -> HttpResponse | FileResponse:
        """Download an export's file, after recording the download."""
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
        """Show an entry and its neighbours."""
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request):
            raise PermissionDenied
        entry = self.get_object(request, object_id)
        if entry is None:
            raise Http404
        list_query = request.GET.get("_changelist_filters", "")
        context = {
            **self.admin_site.each_context(request),
            # Keep the way back to the list as it was, also across several entries.
            "list_query": list_query,
            "kept": f"?{urlencode({'_changelist_filters': list_query})}" if list_query else "",
            "title": _("Entry %(seq)s: %(action)s") % {"seq": entry_number(entry), "action": entry.action_label},
            "crumb": entry_number(entry),
            "opts": self.opts,
            "zone": zone_name(),
            "entry": entry,
            "action": entry.action_label,
            "sentence": sentence_of(entry, Labels()),
            "sections": sections_of(request, entry),
            "time": moment(entry.at),
            "utc": f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}",
            "conversation": entry.conversation_ids,
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
            "beside": neighbours(entry),
            "steps": recall_steps(entry),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/audit/auditentry/change_form.html", context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Refuse: an entry never changes, so it has no history."""
        raise PermissionDenied

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("audit.view_auditentry")


def file_name(kind: str) -> str:
    """File name of an export."""
    return f"audit-log-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{kind}"


def integrity() -> dict[str, Any]:
    """Template context of the log's integrity: head, unsealed entries, last checkpoint and verification, alarms."""
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
    """The problem of the signing key that a verification reported, if any."""
    return AuditAlarm(problem=code) if code in AuditAlarm.Problem.values else None
