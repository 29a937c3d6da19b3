"""Which postgresql.conf settings a person may choose for a cluster, and which values they take.

Refused are settings that would run a program, load a library or name a file, those that the panel writes itself, and
those on which the safety of replication rests (security.md section 4). What is left is checked against what PostgreSQL
itself says of it (pg_settings: type, unit, range, list of values).
"""

from __future__ import annotations

import re
from typing import Final

from clusters.postgres.refused import NameRefused, has_control, shown
from clusters.postgres.settings_table import Known, known_settings
from clusters.postgres.text import gettext_noop as _

#: They run a program, load a library, name a file that the server reads or writes, or are for developers of PostgreSQL.
RUNS_CODE: Final = re.compile(
    r"\w*_command|\w*librar\w*|\w*_directory|\w*_directories|\w*_file|include\w*|dynamic_library_path|extension_\w*path|extension_destdir"
    r"|jit_\w+|log_filename|log_destination|logging_collector|log_file_mode|log_rotation_\w+|log_truncate_on_rotation|event_source|syslog_\w+"
    r"|dynamic_shared_memory_type|allow_\w+|backtrace_functions|ignore_\w+|zero_damaged_pages|debug_\w+|trace_\w+|\w+_auth_delay|oauth_\w+"
    r"|lo_compat_privileges|session_replication_role|send_abort_for_\w+|createrole_self_grant"
)
#: The panel writes them for each instance, or they say who replicates from whom.
OWNED: Final = re.compile(
    r"listen_addresses|port|unix_socket_\w+|bonjour\w*|cluster_name|primary_conninfo|primary_slot_name|recovery_\w+|promote_\w+"
    r"|synchronous_standby_names|synchronized_standby_slots|lc_\w+|ssl\w*|krb_\w+|gss_\w+|db_user_namespace"
)
#: Replication, pg_rewind, crash safety, or what the panel sends rests on them.
SAFETY: Final = re.compile(
    r"fsync|full_page_writes|wal_log_hints|hot_standby|wal_level|restart_after_crash|data_sync_retry|password_encryption|archive_mode"
    r"|default_transaction_read_only|transaction_\w+|standard_conforming_strings|backslash_quote|client_encoding|event_triggers"
    r"|is_superuser|role|session_authorization"
)
#: A standby may not have less of these than the instance it follows (chapter "Hot Standby", section "Administrator's Overview").
PARITY: Final = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction")
#: Below this replication would not work, or a lost standby would fill the disk. In the setting's own unit.
FLOORS: Final = {"max_wal_senders": 4, "max_replication_slots": 2, "max_slot_wal_keep_size": 256, "max_connections": 10}

_ON_OFF: Final = frozenset({"on", "off", "true", "false", "yes", "no", "1", "0"})
#: What one unit is in the smallest unit of its kind, as PostgreSQL spells them (it minds the case).
_UNITS: Final = (
    {"B": 1, "kB": 1024, "8kB": 8192, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4},
    {"us": 1, "ms": 1000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000},
)
_NUMBER: Final = re.compile(r"(-?[0-9]{1,19}(?:\.[0-9]{1,6})?) ?([A-Za-z]{0,3})", re.ASCII)


def setting(name: str, value: str, major: int, field: str = "settings") -> tuple[str, str]:
    """The name in small letters and the value as given. `major`: the PostgreSQL major version it is for."""
    key = name.lower()
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", key, re.ASCII):
        raise NameRefused(field, _("%(field)s: “%(name)s” is not the name of a setting. Write one such as work_mem."), name=shown(name))
    _refuse_reserved(field, key)
    known = known_settings().get(key)
    if known is None or not known.since <= major <= known.until:
        template = _("%(field)s: PostgreSQL %(major)s has no setting %(name)s, or it cannot be set in a file. Take it out.")
        raise NameRefused(field, template, name=key, major=major)
    if len(value) > 1000 or has_control(value):
        template = _("%(field)s: the value of %(name)s is too long or holds an invisible character. Give it on one line.")
        raise NameRefused(field, template, name=key)
    _check_value(field, known, value)
    return key, value


def _refuse_reserved(field: str, key: str) -> None:
    if RUNS_CODE.fullmatch(key):
        template = _("%(field)s: %(name)s cannot be set here: it can make the server run or read something else. Take it out.")
    elif OWNED.fullmatch(key):
        template = _("%(field)s: %(name)s cannot be set here: the panel writes it for each instance. Take it out.")
    elif SAFETY.fullmatch(key):
        template = _("%(field)s: %(name)s cannot be set here: the safety of replication rests on it. Take it out.")
    else:
        return
    raise NameRefused(field, template, name=key)


def _check_value(field: str, known: Known, value: str) -> None:
    if known.type == "bool" and value.lower() not in _ON_OFF:
        raise NameRefused(field, _("%(field)s: %(name)s is on or off, not “%(value)s”."), name=known.name, value=shown(value))
    if known.type == "enum" and value.lower() not in known.values:
        template = _("%(field)s: %(name)s cannot be “%(value)s”. It is one of: %(choices)s.")
        raise NameRefused(field, template, name=known.name, value=shown(value), choices=", ".join(known.values))
    if known.type in ("integer", "real"):
        _check_number(field, known, value)


def _check_number(field: str, known: Known, value: str) -> None:
    # A person may write 1.5GB; PostgreSQL would take 1.5 connections too, and round them.
    number = None if known.type == "integer" and re.fullmatch(r" *-?[0-9]+\.[0-9]+ *", value) else in_unit(value, known.unit)
    low = max(known.low, FLOORS.get(known.name, known.low))
    if number is None and known.unit:
        template = _("%(field)s: %(name)s cannot be “%(value)s”. Write a number (in %(unit)s), or one with its unit, such as %(example)s.")
        example = "64MB" if known.unit in _UNITS[0] else "30s"
        raise NameRefused(field, template, name=known.name, value=shown(value), unit=known.unit, example=example)
    if number is None:
        template = _("%(field)s: %(name)s cannot be “%(value)s”. Write a number without a unit.")
        raise NameRefused(field, template, name=known.name, value=shown(value))
    if not low <= number <= known.high:
        template = _("%(field)s: %(name)s cannot be %(value)s. Choose a value from %(low)s to %(high)s %(unit)s.")
        words = {"low": f"{low:.15g}", "high": f"{known.high:.15g}", "unit": known.unit}
        raise NameRefused(field, template, name=known.name, value=shown(value), **words)


def in_unit(value: str, unit: str) -> float | None:
    """A number such as `64MB` or `1.5h` in the setting's own unit; None when it is no number, or of another unit."""
    match = _NUMBER.fullmatch(value.strip(" "))
    if not match:
        return None
    if not match[2]:
        return float(match[1])
    return next((float(match[1]) * kind[match[2]] / kind[unit] for kind in _UNITS if unit in kind and match[2] in kind), None)
