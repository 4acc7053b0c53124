"""The audit log in Django admin: for reading and exporting, and for nothing else."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, IntegerField, Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from moderation.audit import export
from moderation.audit.chain import Sealer
from moderation.audit.export import FORMATS
from moderation.audit.models import Action, AuditCheckpoint, AuditEntry, AuditSeal
from moderation.read_only_admin import FilterForm, ReadOnlyAdmin, moment, moment_ms, pretty, short, zone_name

NO_CODE = "none"
# What GoEasy documents (200, 401), and what else is met often enough to deserve a box.
COMMON_CODES = ("200", "400", "401", "429", "500")
# Entries of the same recall shown to either side of one.
NEIGHBOURS = 10
# SQLite bounds how long a condition may be.
MOST_CONVERSATIONS = 100
# How `Conversation.ids` writes a pair: what a person copies from the console can be pasted into the filter.
PAIR = " ↔ "


class Length(Func):
    """How many elements a JSON array has: the array itself, up to 5,000 timestamps, stays in the database."""

    function = "JSON_ARRAY_LENGTH"
    output_field = IntegerField()

    def as_postgresql(
        self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, list[Any] | tuple[Any, ...]]:
        return self.as_sql(compiler, connection, function="JSONB_ARRAY_LENGTH", **context)


# Choices come from small tables, never from the log: it only grows (architecture.md, invariant 8).
def actors() -> list[tuple[str, str]]:
    """Everybody who can sign in, by user name."""
    names = get_user_model().objects.order_by("username").values_list("username", flat=True)
    return [(name, name) for name in names]


def applications() -> list[tuple[str, str]]:
    """Every application's short name and name."""
    # Named by label: the audit log imports no other app of the console.
    rows = apps.get_model("archive", "Application")._default_manager.order_by("slug")
    return [(slug, f"{name} ({slug})") for slug, name in rows.values_list("slug", "name")]


def words(text: str) -> list[str]:
    """What commas (of either width), spaces and new lines separate."""
    return [word for word in re.split(r"[\s,，、;；]+", text) if word]


def several(label: Any, choices: Any) -> forms.MultipleChoiceField:
    """A filter by check boxes, any number of them."""
    return forms.MultipleChoiceField(label=label, choices=choices, required=False, widget=forms.CheckboxSelectMultiple)


class TimeField(forms.DateTimeField):
    """A time in the reader's zone that is a time in UTC, as databases keep it, too: not before the year 1 there."""

    def to_python(self, value: Any) -> datetime | None:
        at = super().to_python(value)
        try:
            return at and at.astimezone(UTC)
        except OverflowError:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


def time_field(label: Any, help_text: Any) -> forms.DateTimeField:
    """A filter by time in the reader's zone."""
    return TimeField(
        label=label,
        help_text=help_text,
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"),
    )


class AuditFilter(FilterForm):
    """What the list and the export can be narrowed to; every filter takes several values."""

    action = several(_("Action"), Action.choices)
    response_code = several(_("Response code"), [*((code, code) for code in COMMON_CODES), (NO_CODE, _("none"))])
    other_codes = forms.CharField(
        label=_("Other response codes"), help_text=_("Separated by commas."), required=False, max_length=500
    )
    actor = several(_("Actor"), actors)
    other_actors = forms.CharField(
        label=_("Other actors"),
        help_text=_("User names of people who are gone, separated by commas."),
        required=False,
        max_length=2000,
    )
    app = several(_("Application"), applications)
    conversation = forms.CharField(
        label=_("Conversation"),
        help_text=_("Ids of users or groups, one a line."),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    since = time_field(_("From"), "")
    until = time_field(_("To"), _("Not included."))
    recall = forms.UUIDField(label=_("Recall"), help_text=_("Its id."), required=False)

    def clean_other_codes(self) -> list[int]:
        codes = words(self.cleaned_data["other_codes"])
        for code in codes:
            if not re.fullmatch(r"-?[0-9]{1,18}", code):
                raise forms.ValidationError(_("“%(code)s” is not a whole number."), params={"code": code})
        return [int(code) for code in codes]

    def clean_other_actors(self) -> list[str]:
        return words(self.cleaned_data["other_actors"])

    def clean_conversation(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["conversation"].splitlines() if line.strip()]
        if len(lines) > MOST_CONVERSATIONS:
            raise forms.ValidationError(_("Give at most %(most)d ids."), params={"most": MOST_CONVERSATIONS})
        return lines

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        since, until = data.get("since"), data.get("until")
        if since and until and since >= until:
            self.add_error("until", _("This must be later than the time in “From”."))
        return data

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        data = self.cleaned_data
        if names := [*data["actor"], *data["other_actors"]]:
            rows = rows.filter(actor__in=names)
        if data["action"]:
            rows = rows.filter(action__in=data["action"])
        if data["app"]:
            rows = rows.filter(app__in=data["app"])
        if data["response_code"] or data["other_codes"]:
            codes = [int(code) for code in data["response_code"] if code != NO_CODE] + data["other_codes"]
            wanted = Q(response_code__in=codes)
            if NO_CODE in data["response_code"]:
                wanted |= Q(response_code=None)
            rows = rows.filter(wanted)
        if data["conversation"]:
            wanted = Q()
            for line in data["conversation"]:
                wanted |= Q(group_id=line) | Q(user_a=line) | Q(user_b=line)
                user_a, found, user_b = line.partition(PAIR)
                if found:
                    wanted |= Q(user_a=user_a, user_b=user_b) | Q(user_a=user_b, user_b=user_a)
            rows = rows.filter(wanted)
        if data["since"]:
            rows = rows.filter(at__gte=data["since"])
        if data["until"]:
            rows = rows.filter(at__lt=data["until"])
        if data["recall"]:
            rows = rows.filter(recall=data["recall"])
        return rows


def conversation_ids(entry: AuditEntry) -> str:
    """What names the entry's conversation at GoEasy, for people to read."""
    return entry.group_id if entry.kind == "group" else PAIR.join(filter(None, (entry.user_a, entry.user_b)))


def number(entry: AuditEntry) -> str:
    """The entry's number in the log; "…" for the seconds until it is sealed."""
    return str(entry.seal.seq) if hasattr(entry, "seal") else "…"


def code_pill(entry: AuditEntry) -> SafeString | str:
    """GoEasy's response code as a pill; empty for a step that has no answer to tell of."""
    if entry.response_code is not None:
        state = "accepted" if entry.response_code == 200 else "refused"
        return format_html('<span class="pill {}">{}</span>', state, entry.response_code)
    if entry.action == Action.UNANSWERED:
        return format_html('<span class="pill unknown">{}</span>', _("no answer"))
    if entry.action == Action.ANSWERED:
        return format_html('<span class="pill refused">{}</span>', _("no code"))
    return ""


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Reads and exports the log; the database refuses the rest even if this did not."""

    filter_form = AuditFilter
    list_defer = ("timestamps", "request", "response_content", "detail")
    list_per_page = 100
    change_list_template = "admin/audit/auditentry/change_list.html"
    list_display = (
        "seq",
        "time",
        "actor",
        "action_name",
        "app",
        "conversation_ids",
        "timestamp_count",
        "http_status",
        "code",
        "latency",
        "recall_link",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        counted: QuerySet[Any] = rows.select_related("seal").annotate(timestamp_count=Length("timestamps"))
        return counted

    @admin.display(description=_("no."))
    def seq(self, entry: AuditEntry) -> str:
        return number(entry)

    def get_urls(self) -> list[URLPattern]:
        export = path("export/", self.admin_site.admin_view(self.export_view), name="audit_auditentry_export")
        return [export, *super().get_urls()]

    @admin.display(description=_("time"))
    def time(self, entry: AuditEntry) -> SafeString | str:
        return moment(entry.at)

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
        for name in ("before", "after", "_changelist_filters"):
            query.pop(name, None)
        context = {
            "has_export_permission": self.has_export_permission(request),
            "export_formats": list(FORMATS),
            "export_query": query.urlencode(),
            "integrity": integrity(),
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
        Sealer().seal()
        narrowed: Any = form.narrow(AuditEntry.objects.all())
        filters = {name: values for name, values in request.GET.lists() if name in form.fields and any(values)}
        lines = export.lines(kind, narrowed, actor=request.user.get_username(), filters=filters)
        now = datetime.now(UTC)
        return StreamingHttpResponse(
            (line.encode(errors="backslashreplace") for line in with_mark(kind, lines)),
            content_type=FORMATS[kind].content_type,
            headers={"Content-Disposition": f'attachment; filename="audit-log-{now:%Y%m%dT%H%M%SZ}.{kind}"'},
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
        context = {
            **self.admin_site.each_context(request),
            "title": _("Entry %(seq)s: %(action)s") % {"seq": number(entry), "action": action_label(entry)},
            "number": number(entry),
            "opts": self.opts,
            "zone": zone_name(),
            "entry": entry,
            "action": action_label(entry),
            "time": moment(entry.at),
            "utc": f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}",
            "conversation": conversation_ids(entry),
            "code": code_pill(entry),
            "times": [(timestamp, moment_ms(timestamp)) for timestamp in entry.timestamps or ()],
            "request_json": pretty(entry.request) if entry.request is not None else "",
            "detail_json": pretty(entry.detail) if entry.detail else "",
            "seal": getattr(entry, "seal", None),
            "neighbours": [
                {
                    "entry": near,
                    "time": moment(near.at),
                    "action": action_label(near),
                    "code": code_pill(near),
                }
                for near in neighbours(entry)
            ],
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


def with_mark(kind: str, lines: Iterator[str]) -> Iterator[str]:
    """`lines`; for a spreadsheet behind the mark without which Excel shows Chinese as nonsense."""
    if kind == "csv":
        yield "\ufeff"
    yield from lines


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
    verification = AuditEntry.objects.filter(action=Action.LOG_VERIFIED).order_by("-pk").first()
    return {
        "head": head,
        "waiting_since": waiting and moment(waiting.at),
        "checkpoint": checkpoint,
        "checkpoint_time": checkpoint and moment(checkpoint.at),
        "verification": verification,
        "verification_time": verification and moment(verification.at),
        "problem": verification and verification.detail.get("problem"),
    }


def neighbours(entry: AuditEntry) -> list[AuditEntry]:
    """The entries of the same recall around this one, in order, this one among them."""
    if entry.recall is None:
        return []
    same = AuditEntry.objects.filter(recall=entry.recall).defer("timestamps", "request", "response_content", "detail")
    before = same.filter(pk__lt=entry.pk).order_by("-pk")[:NEIGHBOURS]
    after = same.filter(pk__gt=entry.pk).order_by("pk")[:NEIGHBOURS]
    return [*reversed(before), entry, *after]
