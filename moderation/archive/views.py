"""Finding a conversation: in the archive, or by its ids at GoEasy."""

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from moderation.archive import feed, retention
from moderation.archive.forms import ConversationFilter, ConversationForm, HoldForm
from moderation.archive.models import Application, Conversation, Kind, Sender
from moderation.archive.names import titled
from moderation.audit.services import record_search
from moderation.requests import SignedIn

PAGE_SIZE = 50
# People whose name holds what is searched for: more of them narrow nothing down.
MOST_NAMED = 200


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_safe
def conversation_list(request: SignedIn) -> HttpResponse:
    """Conversations, the latest message first, narrowed by id, name, kind and application; paged by key."""
    form = ConversationFilter(request.GET)
    form.is_valid()
    if text := form.cleaned_data.get("q"):
        record_search("conversations", q=text)
    found = list(_older_than(request.GET.get("after", ""), _narrowed(form))[: PAGE_SIZE + 1])
    page = titled(found[:PAGE_SIZE])
    older = ""
    if len(found) > PAGE_SIZE:
        query = request.GET.copy()
        query["after"] = f"{page[-1].last_timestamp}-{page[-1].pk}"
        older = query.urlencode()
    context = {
        "form": form,
        "page": page,
        "older": older,
        "many_apps": Application.objects.all()[:2].count() > 1,
    }
    return render(request, "archive/conversation_list.html", context)


def _narrowed(form: ConversationFilter) -> QuerySet[Conversation]:
    """The conversations that pass the filters, newest first."""
    conversations = Conversation.objects.select_related("application").order_by("-last_timestamp", "-id")
    if text := form.cleaned_data.get("q"):
        anywhere = Q(user_a__icontains=text) | Q(user_b__icontains=text) | Q(group_id__icontains=text)
        anywhere |= Q(name__icontains=text)
        named = list(Sender.objects.filter(name__icontains=text).values_list("user_id", flat=True)[:MOST_NAMED])
        anywhere |= Q(user_a__in=named) | Q(user_b__in=named)
        conversations = conversations.filter(anywhere)
    if kinds := form.cleaned_data.get("kind"):
        conversations = conversations.filter(kind__in=kinds)
    if apps := form.cleaned_data.get("app"):
        conversations = conversations.filter(application__in=apps)
    return conversations


def _older_than(key: str, conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """Those after `key` ("<last timestamp>-<id>") in the list's order; all of them when it is no key."""
    timestamp, _dash, pk = key.partition("-")
    if not (timestamp.isascii() and timestamp.isdigit() and pk.isascii() and pk.isdigit() and len(key) < 40):
        return conversations
    return conversations.filter(
        Q(last_timestamp__lt=int(timestamp)) | Q(last_timestamp=int(timestamp), id__lt=int(pk)),
        last_timestamp__lte=int(timestamp),
    )


@login_required
@permission_required("archive.open_conversation", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def open_conversation(request: SignedIn) -> HttpResponse:
    """Open a conversation by its ids, known to the archive or not. The query string may fill the form."""
    if request.method == "POST":
        form = ConversationForm(request.POST)
        if form.is_valid():
            return redirect(form.conversation())
    else:
        form = ConversationForm(initial={"kind": Kind.PRIVATE, **request.GET.dict()})
    recall_instead = urlencode({name: form[name].value() or "" for name in form.fields})
    return render(request, "archive/open_conversation.html", {"form": form, "recall_instead": recall_instead})


@login_required
@permission_required("archive.hold_conversation", raise_exception=True)
@require_POST
def hold(request: SignedIn, pk: int) -> HttpResponse:
    """Put a conversation on hold (`held=1`), or end that (`held=0`), with a note."""
    conversation = get_object_or_404(Conversation, pk=pk)
    form = HoldForm(request.POST)
    if not form.is_valid():
        messages.warning(request, " ".join(str(error) for errors in form.errors.values() for error in errors))
        return redirect(f"{conversation.get_absolute_url()}#archive")
    actor, note = request.user.get_username(), form.cleaned_data["note"]
    if form.cleaned_data["held"]:
        retention.hold(conversation, actor, note)
        messages.success(request, _("The conversation is on hold: nothing of it is deleted."))
    else:
        retention.release(conversation, actor, note)
        messages.success(request, _("The hold has ended."))
    return redirect(f"{conversation.get_absolute_url()}#archive")


@login_required
@permission_required("archive.view_webhookdelivery", raise_exception=True)
@require_safe
def feed_page(request: SignedIn) -> HttpResponse:
    """How the webhooks do, and how one is set up or switched on again."""
    feeds = [
        (feed.health(application), request.build_absolute_uri(reverse("goeasy-webhook", args=[application.slug])))
        for application in Application.objects.all()
    ]
    return render(request, "archive/feed.html", {"feeds": feeds, "what_to_do": feed.WHAT_TO_DO})
