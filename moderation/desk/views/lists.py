"""Lists and searches of conversations and messages, opening a conversation by its ids, and the sender page."""

import re
from collections.abc import Collection
from itertools import groupby
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required, permission_required
from django.db.models import Q, QuerySet
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from moderation.accounts.request_types import AuthenticatedRequest
from moderation.applications.models import Application
from moderation.archive import timeline
from moderation.archive.events import Searched
from moderation.archive.forms import ConversationForm
from moderation.archive.messages import read
from moderation.archive.models import Conversation, Kind, Message, Sender
from moderation.archive.names import sender_names, titled, with_writers
from moderation.archive.rows import in_parts
from moderation.audit.services import record
from moderation.desk.chips import chips_of, filters_in
from moderation.desk.conversation_rows import rows_of
from moderation.desk.hits import Hit, pieces_of
from moderation.desk.models import SavedSearch
from moderation.desk.views.conversation_rows import LIST_ROWS, filtered, rows_address, wants_action_only
from moderation.goeasy.client import MAX_ID_LENGTH
from moderation.search import index, people, query
from moderation.search.forms import MessageFilter
from moderation.search.normalise import normalise, squeezed
from recall import attention

PAGE_SIZE = LIST_ROWS
# Matching conversations shown above matching messages.
FIRST_CONVERSATIONS = 8
# Matching people shown above the conversations.
PEOPLE_SHOWN = 8
# Messages filtered at once; a page grows by sixty at each click.
MAX_FILTERED = 20_000


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_safe
def conversation_list(request: AuthenticatedRequest) -> HttpResponse:
    """List conversations by latest message, filtered by id, name, kind and application; paged by key (`after`).

    A search also covers messages (newest first, paged by `before`), and only these when a filter applies to messages
    alone.
    """
    form = MessageFilter(request.GET)
    form.is_valid()
    is_valid_text = "q" not in form.errors
    is_search = is_valid_text and bool(form.cleaned_data.get("q") or form.asks_for_messages)
    # Messages have no such state: with it these are conversations alone, and a filter of messages goes first.
    wants_action = wants_action_only(request.GET) and not form.asks_for_messages
    in_need = attention.conversations_in_need()
    with_messages = is_search and "after" not in request.GET and not wants_action
    with_conversations = is_valid_text and not form.asks_for_messages and "before" not in request.GET
    if is_search:
        values = {name: ", ".join(request.GET.getlist(name))[:500] for name in ("q", *MessageFilter.OF_MESSAGES)}
        criteria = {name: text for name, text in values.items() if text}
        kind = "messages" if with_messages else "conversations"
        record(Searched(actor=request.user.get_username(), page=kind, asked=criteria))
    applications = list(Application.objects.all())
    context = {
        "form": form,
        "many_apps": len(applications) > 1,
        "with_conversations": with_conversations,
        "wants_action": wants_action,
        "needing": len(in_need),
        "chips": chips_of(form, request.GET),
        "this_query": (this_query := filters_in(request.GET)),
        "saved": (saved := list(SavedSearch.objects.filter(user=request.user))),
        "is_saved": any(search.query == this_query for search in saved),
        "rows_address": "" if is_search or "after" in request.GET else rows_address("list", request.GET),
    }
    if with_conversations:
        size = FIRST_CONVERSATIONS if with_messages else PAGE_SIZE
        matching = _people(form, applications)
        narrowed = _matching(form, matching, in_need if wants_action else None)
        conversations = list(_older_than(request.GET.get("after", ""), narrowed)[: size + 1])
        page = conversations[:size]
        context |= {"page": page, "rows": rows_of(request.user, page)}
        more = len(conversations) > size
        if with_messages:
            context |= {
                "people": matching[:PEOPLE_SHOWN],
                "more_people": len(matching) > PEOPLE_SHOWN,
                "people_first": any(_is_exactly(sender, form.cleaned_data["q"]) for sender in matching[:PEOPLE_SHOWN]),
            }
        context["older"] = _with(request, after=f"{page[-1].last_timestamp}-{page[-1].pk}") if more else ""
    if with_messages:
        context |= messages_of(request, form.wanted())
        only = titled(Conversation.objects.filter(pk__in=form.wanted().conversations).select_related("application"))
        context |= {"only": only, "progress": index.progress()}
        # That there is no such conversation is said below the messages that were found.
        context["only_messages"] = with_conversations and bool(context["hits"]) and not context["page"]
        context["with_conversations"] = with_conversations and not context["only_messages"]
    return render(request, "desk/pages/conversation_list.html", context)


def _people(form: MessageFilter, all_applications: list[Application]) -> list[Sender]:
    """People whose id or name contains the search text, exact matches first."""
    text, applications = form.cleaned_data.get("q"), form.cleaned_data.get("app")
    if not text:
        return []
    matching = people.with_id(text, all_applications) + people.named(text, or_with_id=True)
    matching = list({(sender.application_id, sender.user_id): sender for sender in matching}.values())
    return [sender for sender in matching if not applications or sender.application in applications]


def _is_exactly(sender: Sender, text: str) -> bool:
    """Whether the text is the person's id or whole name."""
    return sender.user_id == text or normalise(sender.name) == normalise(text)


def _with(request: AuthenticatedRequest, **changes: str) -> str:
    """The request's query string with these values set."""
    query = request.GET.copy()
    for name, value in changes.items():
        query[name] = value
    return query.urlencode()


def messages_of(request: AuthenticatedRequest, wanted: query.Wanted) -> dict[str, object]:
    """A page of the messages that are `wanted`, as the template of hits has it."""
    results = query.search(wanted, before=timeline.read_key(request.GET.get("before", "")), limit=PAGE_SIZE)
    hits = [Hit(message, pieces_of(read(message.raw), wanted)) for message in with_writers(results.messages())]
    return {
        "with_messages": True,
        "hits": hits,
        "older_hits": _with(request, before=results.older) if results.older else "",
        "looked_back_to": results.looked_back_to,
    }


def _matching(form: MessageFilter, matching: list[Sender], in_need: Collection[int] | None) -> QuerySet[Conversation]:
    """The conversations that pass the filters, including those of the people in `matching`, newest first."""
    conversations = filtered(form, in_need)
    if text := form.cleaned_data.get("q"):
        anywhere = Q(user_a__icontains=text) | Q(user_b__icontains=text) | Q(group_id__icontains=text)
        anywhere |= Q(name__icontains=text)
        named = [sender.user_id for sender in matching]
        anywhere |= Q(user_a__in=named) | Q(user_b__in=named)
        conversations = conversations.filter(anywhere)
    return conversations


def _older_than(key: str, conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """The conversations after `key` ("<last timestamp>-<id>") in the list's order; all when it is malformed."""
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
def open_conversation(request: AuthenticatedRequest) -> HttpResponse:
    """Open a conversation by its ids, archived or not. The query string may fill the form."""
    if request.method == "POST":
        form = ConversationForm(request.POST)
        if form.is_valid():
            return redirect(form.conversation())
    else:
        form = ConversationForm(initial={"kind": Kind.PRIVATE, **request.GET.dict()})
    recall_instead = urlencode({name: form[name].value() or "" for name in form.fields})
    return render(request, "desk/pages/open_conversation.html", {"form": form, "recall_instead": recall_instead})


@login_required
@permission_required("recall.add_recall", raise_exception=True)
@require_safe
def ticked_messages(request: AuthenticatedRequest) -> HttpResponse:
    """Redirect to the recall of the ticked messages (`?message=`, ids), or list one recall per conversation."""
    pks = [int(text) for text in request.GET.getlist("message") if text.isascii() and text.isdigit() and len(text) < 19]
    ticked = Message.objects.filter(pk__in=pks[: 2 * PAGE_SIZE]).order_by("conversation_id", "timestamp")
    recalls = [
        (conversation, len(of_it := list(messages)), _recall_address(conversation, of_it))
        for conversation, messages in groupby(
            ticked.select_related("conversation__application"), key=lambda message: message.conversation
        )
    ]
    if len(recalls) == 1:
        return redirect(recalls[0][2])
    titled(conversation for conversation, _number, _address in recalls)
    return render(request, "desk/pages/ticked_messages.html", {"recalls": recalls})


def _recall_address(conversation: Conversation, messages: list[Message]) -> str:
    """URL of the form for a recall of these messages."""
    names = ("kind", "group_id") if conversation.kind == Kind.GROUP else ("kind", "user_a", "user_b")
    query = {name: getattr(conversation, name) for name in names}
    timestamps = ",".join(str(timestamp) for timestamp in dict.fromkeys(message.timestamp for message in messages))
    query |= {"app": conversation.application.slug, "timestamps": timestamps}
    return f"{reverse('recall-new')}?{urlencode(query)}"


@login_required
@permission_required("archive.view_conversation", raise_exception=True)
@require_POST
def filter_messages(request: AuthenticatedRequest, pk: int) -> JsonResponse:
    """Return the ids of those `messages` (ids with commas between) that contain `q` in their text, sender's name or id,
    or timestamp. With `loosely`, white space and signs are ignored.

    Texts are normalised as for the search. It is POST because of its length; it changes nothing.
    """
    conversation = get_object_or_404(Conversation.objects.select_related("application"), pk=pk)
    conversation.record_reading_on("conversation: filter")
    pks = [int(text) for text in request.POST.get("messages", "").split(",") if re.fullmatch("[0-9]{1,18}", text)]
    compare = squeezed if request.POST.get("loosely") and squeezed(request.POST.get("q", "")) else normalise
    needle = compare(request.POST.get("q", "")[:MAX_ID_LENGTH])
    matching = []
    for some in in_parts(pks[:MAX_FILTERED]):
        messages = list(Message.objects.filter(conversation=conversation, pk__in=some).defer("recalled_raw"))
        names = sender_names(conversation.application, {message.sender_id for message in messages})
        for message in messages:
            name = names.get(message.sender_id, "")
            parts = (read(message.raw).searchable, name, message.sender_id, str(message.timestamp))
            if any(needle in compare(part) for part in parts):
                matching.append(message.pk)
    return JsonResponse({"matching": matching})
