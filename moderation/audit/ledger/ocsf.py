"""An entry as an event of the Open Cybersecurity Schema Framework, class API Activity (schema.ocsf.io, 1.3.0)."""

from datetime import datetime
from typing import Any

from moderation.audit.models import Action

VERSION = "1.3.0"
CATEGORY, CLASS = 6, 6003
CREATE, READ, UPDATE, DELETE, OTHER = 1, 2, 3, 4, 99
UNKNOWN, SUCCESS, FAILURE = 0, 1, 2
INFORMATIONAL, LOW, MEDIUM, CRITICAL = 1, 2, 3, 5
READS = {
    Action.CONVERSATION_OPENED,
    Action.DELIVERY_READ,
    Action.SEARCHED,
    Action.LOG_EXPORTED,
    Action.LOG_DOWNLOADED,
    Action.LOG_VERIFIED,
    Action.BACKED_UP,
}
DONE = {"added": CREATE, "changed": UPDATE, "deleted": DELETE}
NAMES = {CREATE: "Create", READ: "Read", UPDATE: "Update", DELETE: "Delete"}


def activity(entry: dict[str, Any]) -> int:
    """`activity_id` of an entry."""
    if entry["action"] in READS:
        return READ
    did = entry["detail"].get("did")
    return DONE.get(did, OTHER) if isinstance(did, str) else OTHER


def outcome(entry: dict[str, Any]) -> tuple[int, int]:
    """`status_id` and `severity_id` of an entry."""
    action = entry["action"]
    if action == Action.LOG_VERIFIED and entry["detail"].get("problem"):
        return FAILURE, CRITICAL
    if action == Action.READER_ALARM:
        return SUCCESS, MEDIUM
    # An answer that leaves the effect unknown (408, 500 and above), or an unusual one, is not a failure.
    is_undetermined = entry["detail"].get("outcome") == "unknown" or entry["detail"].get("unusual")
    if action == Action.UNANSWERED or (action == Action.ANSWERED and is_undetermined):
        return UNKNOWN, LOW
    if action == Action.LOG_VERIFIED and entry["detail"].get("key_problem"):
        return UNKNOWN, LOW
    is_refused = action == Action.ANSWERED and entry["response_code"] != 200
    if is_refused or action in {Action.SIGN_IN_FAILED, Action.PASSWORD_REFUSED}:
        return FAILURE, LOW
    return SUCCESS, INFORMATIONAL


def event(entry: dict[str, Any]) -> dict[str, Any]:
    """Convert an entry (a result of `format.as_dict`) to an event, with the entry itself under `unmapped`.

    `metadata.uid` is the seq, so that duplicates can be recognised. The verifier accepts the lines of `unmapped`.
    """
    activity_id = activity(entry)
    status_id, severity_id = outcome(entry)
    origin = entry["detail"].get("from") or {}
    ocsf: dict[str, Any] = {
        "category_uid": CATEGORY,
        "class_uid": CLASS,
        "activity_id": activity_id,
        "activity_name": NAMES.get(activity_id, entry["action"]),
        "type_uid": CLASS * 100 + activity_id,
        "severity_id": severity_id,
        "status_id": status_id,
        "time": int(datetime.fromisoformat(entry["at"]).timestamp() * 1000),
        "metadata": {
            "version": VERSION,
            "product": {"name": "Moderation console", "vendor_name": "Moderation console"},
            "uid": str(entry["seq"]),
            "sequence": entry["seq"],
            "event_code": entry["action"],
            "original_time": entry["at"],
        },
        "actor": {"user": {"name": entry["actor"]}},
        "api": {"operation": entry["action"]},
        # Workers and commands have no client: the source is the console itself.
        "src_endpoint": {"ip": origin["address"]} if origin.get("address") else {"svc_name": "moderation-console"},
        "unmapped": entry,
    }
    if origin:
        ocsf["http_request"] = {"user_agent": origin.get("user_agent", ""), "uid": origin.get("request_id", "")}
    if entry["http_status"] is not None:
        ocsf["http_response"] = {"code": entry["http_status"]}
    return ocsf
