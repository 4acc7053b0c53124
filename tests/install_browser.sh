#!/bin/sh
# Chromium, a Chinese font, gettext, pdftotext and PgBouncer for the tests that need them, from Debian's packages. Where
# they cannot be installed those tests say that they were skipped; with CI=true that is a failure.
missing=""
command -v chromium >/dev/null || missing="$missing chromium"
PATH="$PATH:/usr/sbin" command -v pgbouncer >/dev/null || missing="$missing pgbouncer"
command -v xgettext >/dev/null || missing="$missing gettext"
command -v pdftotext >/dev/null || missing="$missing poppler-utils"
PATH="$PATH:/usr/sbin" command -v nginx >/dev/null || missing="$missing nginx-light"
fc-list 2>/dev/null | grep -qiE 'noto.*cjk|wqy' || missing="$missing fonts-noto-cjk"
[ -z "$missing" ] && exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
echo "Installing$missing"
if command -v apt-get >/dev/null && $as_root apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
    exit 0
fi
echo "Could not install$missing: the tests that need them will be skipped." >&2
[ "${CI:-}" = true ] && exit 1
exit 0
