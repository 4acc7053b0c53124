"""Read-only Django admin with keyset pagination.

No list counts, skips or sorts the rows of a growing table (docs/architecture.md, invariant 8): each page starts where
the previous one ended.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import PROTECT, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from moderation.json_depth import nests_too_deeply

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

BEFORE = "before"
AFTER = "after"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FilterForm(forms.Form):
    """Filters of a list, as one GET form that works without JavaScript."""

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Filter `rows` by the values of the valid form."""
        return rows


def past_key(key: dict[str, Any], direction: str) -> Q:
    """Condition for rows that sort strictly past `key`; `direction` is "lt" or "gt"."""
    (name, value), *rest = key.items()
    if not rest:
        return Q((f"{name}__{direction}", value))
    # An index can be searched by the first condition only.
    return Q((f"{name}__{direction}e", value)) & (Q((f"{name}__{direction}", value)) | past_key(dict(rest), direction))


class KeyChangeList(ChangeList):
    """One page of a list by keyset pagination, newest first."""

    filter_form: FilterForm
    newer: str | None
    older: str | None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        self.filter_form = self.model_admin.filter_form(request.GET)  # type: ignore[attr-defined]
        self.filter_specs = []
        self.has_filters = True
        # An invalid filter must not look as if it had been applied.
        if not self.filter_form.is_valid():
            return self.root_queryset.none()
        self.has_active_filters = any(value for value in self.filter_form.cleaned_data.values())
        return self.apply_select_related(self.filter_form.narrow(self.root_queryset))

    def get_results(self, request: HttpRequest) -> None:
        before, after = (self._key_of(self.params.get(name)) for name in (BEFORE, AFTER))
        rows = self.fetch(self.list_per_page + 1, before, after)
        more = len(rows) > self.list_per_page
        page = rows[: self.list_per_page]
        if after:
            page.reverse()
        newer, older = (more, True) if after else (bool(before), more)
        self.newer = self._page(AFTER, page[0].pk) if newer and page else None
        self.older = self._page(BEFORE, page[-1].pk) if older and page else None
        self.newest = self.get_query_string(remove=[BEFORE, AFTER])
        self.is_newest = not before and not after
        self.is_after = bool(after)
        self.result_list = page
        self.result_count = len(page)
        self.show_full_result_count = self.show_admin_actions = self.can_show_all = self.multi_page = False
        self.full_result_count = None

    @property
    def key(self) -> tuple[str, ...]:
        """`ReadOnlyAdmin.key`."""
        names: tuple[str, ...] = self.model_admin.key  # type: ignore[attr-defined]
        return names

    def fetch(self, limit: int, before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[Any]:
        """Up to `limit` rows before a key, newest first, or after a key, oldest first."""
        return list(self.ordered(self.queryset, before, after)[:limit])

    def ordered(
        self,
        rows: QuerySet[Any],
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
        names: tuple[str, ...] = (),
    ) -> QuerySet[Any]:
        """`rows` in the list's order, past a key. `names`: of the key's values in `rows`, if not those of the model."""
        names = names or self.key
        if after:
            return rows.filter(past_key(dict(zip(names, after.values(), strict=True)), "gt")).order_by(*names)
        rows = rows.order_by(*(f"-{name}" for name in names))
        return rows.filter(past_key(dict(zip(names, before.values(), strict=True)), "lt")) if before else rows

    def _key_of(self, pk: str | None) -> dict[str, Any] | None:
        """Key of the row at which a page starts; None (the newest page) if there is no such row."""
        if not pk:
            return None
        try:
            return self.model._default_manager.filter(pk=pk).values(*self.key).first()
        except (ValueError, ValidationError, OverflowError):
            return None

    def _page(self, direction: str, pk: Any) -> str:
        return self.get_query_string({direction: pk}, remove=[BEFORE, AFTER])


class ReadOnlyAdmin(ModelAdmin):
    """Admin that shows rows and lets nobody add, change or delete them."""

    # Immutable fields by which the list is sorted, descending; an index has them in this order.
    key: tuple[str, ...] = ("id",)
    filter_form: type[FilterForm] = FilterForm
    # Columns that the list does not load.
    list_defer: tuple[str, ...] = ()
    change_list_template = "admin/key_change_list.html"
    change_form_template = "admin/key_change_form.html"
    actions = None
    sortable_by = ()
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeyChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith("_changelist")
        return rows.defer(*self.list_defer) if is_list else rows

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        context = {
            "title": self.opts.verbose_name_plural,
            "zone": zone_name(),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        return super().change_view(request, object_id, form_url, extra_context)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        zone = format_html("<p>{}</p>", _("Times are in %(zone)s.") % {"zone": zone_name()})
        return [(None, {"fields": self.get_fields(request, obj), "description": zone})]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def is_referred_to(row: Model) -> bool:
    """Whether protected rows refer to `row`, so that it cannot be deleted.

    Checked before deletion is offered, because Django's page would list each of possibly thousands of rows.
    """
    return any(
        relation.related_model._default_manager.filter(**{relation.field.name: row}).exists()
        for relation in row._meta.related_objects
        if relation.on_delete is PROTECT
    )


def zone_name() -> str:
    """The active time zone and its current offset, such as "Asia/Shanghai (UTC+08:00)"."""
    offset = f"{timezone.localtime():%z}"
    return f"{timezone.get_current_timezone_name()} (UTC{offset[:3]}:{offset[3:5]})"


def moment(at: datetime | None) -> SafeString | str:
    """A time to the millisecond in the active time zone, with UTC on hover."""
    if at is None:
        return "-"
    utc = at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "")
    local = timezone.localtime(at).replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")
    return format_html('<time datetime="{}Z" title="{} UTC">{}</time>', utc.replace(" ", "T"), utc, local)


def moment_ms(timestamp: int) -> SafeString | str:
    """`moment()` of a timestamp in milliseconds since the epoch; the number itself if out of range."""
    try:
        return moment(EPOCH + timedelta(milliseconds=timestamp))
    except (OverflowError, ValueError):
        return str(timestamp)


def short(text: str) -> SafeString:
    """`text` on one line, cut off by the style sheet; the full text on hover."""
    return format_html('<span class="short" translate="no" title="{}">{}</span>', text, text)


def pretty(value: object) -> SafeString:
    """`value` as indented JSON without escapes, except for lone surrogates, which HTML cannot contain."""
    text = json.dumps(value, ensure_ascii=False, indent=2).encode(errors="backslashreplace").decode()
    return format_html('<pre class="json" translate="no">{}</pre>', text)


def pretty_text(text: str) -> SafeString:
    """A JSON text, indented; unchanged if it is invalid or nests too deeply."""
    try:
        if not nests_too_deeply(text.strip()):
            return pretty(json.loads(text))
    except ValueError:
        pass
    return format_html('<pre class="json" translate="no">{}</pre>', text)


def yes_no(label: Any) -> forms.ChoiceField:
    """Filter field with the choices any, yes and no."""
    return forms.ChoiceField(label=label, required=False, choices=[("", _("any")), ("1", _("yes")), ("0", _("no"))])
