"""Messages for problems with GoEasy: what happened, and what to do next."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

MESSAGES: dict[str, str | Promise] = {
    "not_configured": _("The application has no key. An admin sets GOEASY_APPKEY, or the key in Django admin."),
    "key_unreadable": _(
        "The application’s stored key cannot be opened. An admin puts the former FIELD_ENCRYPTION_KEY or SECRET_KEY "
        "back, or enters the key again in Django admin."
    ),
    "refused": _("GoEasy refused. An admin checks the application's key and region."),
    "invalid_call": _("The application's key or the conversation's ids cannot be sent. An admin checks them."),
    "name_unresolved": _("GoEasy's host name could not be found. An admin checks GOEASY_REST_HOST and the network."),
    "connection_refused": _("GoEasy's host refused the connection. Try again in a while."),
    "connect_timeout": _("GoEasy did not take the connection in time. Try again in a while."),
    "host_not_allowed": _("The application’s REST host is not an allowed one. An admin checks it."),
    "address_not_allowed": _(
        "The REST host’s name leads to an address that is not allowed, such as one of a private network. An admin "
        "checks the host and the network’s name server."
    ),
    "tls_failed": _("No secure connection to GoEasy could be made. An admin checks the host name and the clock."),
    "proxy_failed": _("The network's proxy let nothing through to GoEasy. An admin checks the proxy."),
    "read_timeout": _("GoEasy did not answer in time. Try again in a while."),
    "connection_lost": _("The connection was lost before GoEasy answered."),
    "broken_answer": _("GoEasy's answer broke off."),
    "oversize": _("GoEasy's answer was too large."),
    "unclear": _("What answered does not look like GoEasy. An admin checks GOEASY_REST_HOST."),
    "failed": _("GoEasy answered that it failed, or that it took too long."),
    "paced": _("GOEASY_MAX_CALLS_PER_SECOND allows no more requests at the moment. Try again shortly."),
    "busy": _("GoEasy answers slowly, and others are waiting for it already. Try again in a while."),
    "slow": _("GoEasy answers slowly, so not everything could be looked up. Try again in a while."),
    "too_many": _("These are too many timestamps to look all of them up."),
    "unreadable": _("It has messages that this version cannot read, and these may be among them."),
    "worker_lost": _("The worker that sent it ended before the answer was recorded."),
    "restored": _("It was being sent when the backup was made that was put back since."),
}


def problem_message(kind: str) -> str | Promise:
    """The message for an error's `kind` (`goeasy/errors.py`); a general one for unknown kinds."""
    return MESSAGES.get(kind, _("GoEasy could not be reached. Try again in a while."))
