"""Passphrase of a backup: from a file, the environment or the terminal, never from the command line."""

import getpass
import os
import sys
from argparse import ArgumentParser
from pathlib import Path

from moderation.operations.container import BackupError

VARIABLE = "BACKUP_PASSPHRASE"
MIN_LENGTH = 12


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options for a passphrase."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--passphrase-file", metavar="F", help=f"file with the passphrase (default: ${VARIABLE})")
    group.add_argument("--ask-passphrase", action="store_true", help="ask for the passphrase on the terminal")


def read(file: str | None, *, ask: bool, is_new: bool) -> str:
    """The passphrase; empty for none. A new one must be long enough and is typed twice. Raises BackupError."""
    if file:
        try:
            text = Path(file).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
            raise BackupError(f"--passphrase-file: {file}: {reason}.") from None
        if not text:
            raise BackupError(f"--passphrase-file: {file} is empty.")
    elif ask:
        text = prompt(is_new)
    else:
        text = os.environ.get(VARIABLE, "").strip()
    if is_new and text and len(text) < MIN_LENGTH:
        raise BackupError(f"The passphrase is too short. It needs at least {MIN_LENGTH} characters.")
    return text


def prompt(is_new: bool) -> str:
    """Prompt for the passphrase on the terminal. Raises BackupError."""
    if not sys.stdin.isatty():
        raise BackupError(f"--ask-passphrase needs a terminal. Use --passphrase-file or {VARIABLE} instead.")
    text = getpass.getpass("Passphrase: ").strip()
    if not text:
        raise BackupError("No passphrase was given.")
    if is_new and getpass.getpass("Passphrase again: ").strip() != text:
        raise BackupError("The passphrases do not match.")
    return text
