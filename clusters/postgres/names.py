"""Names and other values that people give: what is accepted. How each sink quotes them is in `quoting`.

Every function takes the value as it came and gives it back as it is used (normalised), or raises `NameRefused` with a
sentence that names the field, says why, and what to do. Sources: security.md section 4; the chapters "Lexical Structure"
(identifiers), "The pg_hba.conf File" and "The Password File" of the PostgreSQL manual.
"""

from __future__ import annotations

import hashlib
import ipaddress
import posixpath
import re
import unicodedata
from typing import Final

from clusters.postgres.refused import NameRefused as NameRefused
from clusters.postgres.refused import has_control, shown
from clusters.postgres.settings import setting as setting
from clusters.postgres.text import gettext_noop as _
from clusters.secrets import Secret

#: Clusters, instances and servers: safe in a path, in application_name, in a slot name (with - as _) and as a container name.
OBJECT_NAME: Final = r"^[a-z][a-z0-9-]{0,39}[a-z0-9]$"

#: Socket paths end at 107 bytes (Linux, sockaddr_un); `<base>/.run/<port>/.s.PGSQL.<port>` must fit.
BASE_DIRECTORY_BYTES: Final = 75

#: PostgreSQL cuts longer identifiers to this, with no more than a NOTICE (NAMEDATALEN - 1).
IDENTIFIER_BYTES: Final = 63

SUPERUSER: Final = "postgres"

#: PostgreSQL's major versions that the panel manages.
MAJORS: Final = range(14, 19)

#: Directory names of the layout, the name that a standby which nobody named shows in pg_stat_replication, and an address of the pages.
RESERVED_OBJECTS: Final = frozenset({"quarantine", "walreceiver", "create"})
#: What pg_hba.conf, SQL or the panel give another meaning.
RESERVED_DATABASES: Final = frozenset({"all", "sameuser", "samerole", "samegroup", "replication", "template0", "template1", SUPERUSER})
RESERVED_ROLES: Final = frozenset(
    {"all", "public", "none", "user", "current_role", "current_user", "session_user", "replication", SUPERUSER}
)
#: Clouds answer there with the machine's credentials; the others (169.254.169.254) are link-local.
METADATA_ADDRESSES: Final = frozenset({"fd00:ec2::254", "100.100.100.200"})
RESERVED_HOSTS: Final = frozenset({"all", "samehost", "samenet"})

_SYSTEM_DIRECTORIES: Final = re.compile(
    r"/(bin|boot|dev|etc|lib|lib64|proc|sbin|sys)(/.*)?|/(home|media|mnt|opt|root|run|srv|tmp|usr|var|var/lib|var/run|var/tmp)"
)
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PATH: Final = re.compile(r"[A-Za-z0-9._/+@=-]+")
#: [registry[:port]/]path[:tag][@digest], as the engine's reference grammar has it, in small letters.
_IMAGE: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_CONTAINER: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
_MEMORY: Final = re.compile(r"[1-9][0-9]{0,6}[kmg]")
_USER_AND_GROUP: Final = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")


def object_name(value: str, field: str = "name") -> str:
    """The name of a server, cluster or instance: 2 to 41 characters of a-z, 0-9 and -."""
    if not re.fullmatch(OBJECT_NAME, value) or value.endswith("\n"):
        raise NameRefused(
            field,
            _(
                "%(field)s: “%(value)s” cannot be a name. Use 2 to 41 characters: small letters, digits and hyphens, "
                "with a letter first and no hyphen last."
            ),
            value=shown(value),
        )
    if value in RESERVED_OBJECTS:
        raise NameRefused(field, _("%(field)s: “%(value)s” is used by the panel itself. Choose another name."), value=value)
    return value


def database_name(value: str, field: str = "database") -> str:
    """The name of an application's database: any text of at most 63 bytes that no file or statement reads in another way."""
    return _identifier(value, field, RESERVED_DATABASES)


def role_name(value: str, field: str = "owner_role", taken: tuple[str, ...] = ()) -> str:
    """The name of a login role. `taken`: further names it may not have (the panel's and the replication role)."""
    return _identifier(value, field, RESERVED_ROLES | frozenset(taken))


def _identifier(value: str, field: str, reserved: frozenset[str]) -> str:
    size = len(value.encode("utf-8", "surrogatepass"))
    if not value or value != value.strip():
        template = _("%(field)s: it is empty, or begins or ends with a space. Type a name without spaces around it.")
    elif size > IDENTIFIER_BYTES:
        template = _("%(field)s: “%(value)s” has %(size)s bytes; PostgreSQL keeps %(limit)s. Choose a shorter name.")
    elif has_control(value):
        template = _("%(field)s: “%(value)s” holds a line break or another invisible character. Take it out.")
    elif value.startswith("/"):
        # pg_hba.conf takes a leading slash for a regular expression, quoted or not (PostgreSQL 16 and later).
        template = _("%(field)s: “%(value)s” begins with a slash, which pg_hba.conf reads as a pattern. Choose another name.")
    elif value.casefold() in reserved or value.casefold().startswith("pg_"):
        template = _("%(field)s: “%(value)s” has a meaning of its own in PostgreSQL or in the panel. Choose another name.")
    else:
        return value
    raise NameRefused(field, template, value=shown(value), size=size, limit=IDENTIFIER_BYTES)


def table_name(value: str, field: str = "tables") -> str:
    """A table as schema.table, each part as PostgreSQL stores it, without quotes; quoting is for who uses it."""
    schema, dot, table = value.partition(".")
    if not (schema and dot and table) or len(schema.encode()) > 63 or len(table.encode()) > 63 or has_control(value):
        raise NameRefused(field, _("%(field)s: “%(table)s” is no table. Write schema.table, such as public.orders."), table=shown(value))
    return value


def host_address(value: str, field: str = "address") -> str:
    """An IP address (normalised) or a host name (in lower case, international names in their xn-- form)."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return _host_name(value, field)
    if not _is_one_server(address):
        raise NameRefused(
            field,
            _("%(field)s: %(value)s is not the address of one server. Give an address at which the other servers reach this one."),
            value=shown(value),
        )
    return str(address)


def _is_one_server(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Not a whole link or group, not nobody, not a cloud's metadata service, no IPv4 address in IPv6 clothes."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return False
    special = address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved
    return address.is_loopback or not (special or str(address) in METADATA_ADDRESSES)


def _host_name(value: str, field: str) -> str:
    try:
        name = value[:254].encode("idna").decode().lower()
    except UnicodeError:
        name = ""
    labels = name.split(".")
    ends_in_number = bool(re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]))  # 127.1, 2130706433, 0x7f.1: an address in disguise
    if len(name) > 253 or ends_in_number or name in RESERVED_HOSTS or not all(_LABEL.fullmatch(label) for label in labels):
        raise NameRefused(
            field,
            _(
                "%(field)s: “%(value)s” is neither an IP address nor a host name. "
                "Give one like 10.0.0.5, 2001:db8::5 or db1.example.com, without port or user."
            ),
            value=shown(value),
        )
    return name


def port(value: int | str, field: str = "port") -> int:
    """A TCP port. Text must be plain decimal digits: `0x1F`, `5432 -p 22` and digits of other scripts are refused."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        number = int(value) if re.fullmatch(r"[0-9]{1,5}", str(value)) else 0
    if not 1 <= number <= 65535:
        raise NameRefused(field, _("%(field)s: “%(value)s” is not a port. Give a whole number from 1 to 65535."), value=shown(value))
    return number


def base_directory(value: str, field: str = "base_directory") -> str:
    """The directory below which everything of the panel lies on a server (normalised, at most 75 bytes)."""
    path = directory(value, field)
    if len(path.encode()) > BASE_DIRECTORY_BYTES:
        raise NameRefused(
            field,
            _(
                "%(field)s: the path has %(size)s bytes, and at most %(limit)s leave room for PostgreSQL's socket below it. "
                "Choose a shorter one, such as /var/lib/pgreplica."
            ),
            size=len(path.encode()),
            limit=BASE_DIRECTORY_BYTES,
        )
    if _SYSTEM_DIRECTORIES.fullmatch(path):
        raise NameRefused(
            field,
            _("%(field)s: %(value)s belongs to the system. Choose a directory of its own, such as /var/lib/pgreplica."),
            value=shown(path),
        )
    return path


def directory(value: str, field: str = "directory") -> str:
    """An absolute path that stands unharmed in a shell line, a conf file and a mount: doubled and last slashes taken away."""
    path = posixpath.normpath(value) if value else ""
    path = f"/{path.lstrip('/')}" if path.startswith("/") else path
    parts = value.split("/")
    fits = _PATH.fullmatch(value) and len(value) <= 255 and not {".", ".."} & set(parts) and not any(part.startswith("-") for part in parts)
    if not fits or not path.startswith("/") or path == "/":
        raise NameRefused(
            field,
            _(
                "%(field)s: “%(value)s” cannot be used as a directory. Give an absolute path of letters, digits and . _ + @ = - "
                "without “..”, of at most 255 characters."
            ),
            value=shown(value),
        )
    return path


def cidr(value: str, field: str = "client_networks") -> str:
    """A network in CIDR form, host bits cleared: `10.0.0.1/24` gives `10.0.0.0/24`, `10.0.0.5` gives `10.0.0.5/32`."""
    try:
        if re.search(r"\s|%", value):
            raise ValueError
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise NameRefused(
            field,
            _("%(field)s: “%(value)s” is not a network. Give one per line, such as 10.0.0.0/24 or 2001:db8::/64."),
            value=shown(value),
        ) from None


def is_open(network: str) -> bool:
    """Whether a network that `cidr` gave admits every address there is; pages warn of it."""
    return ipaddress.ip_network(network).prefixlen == 0


def password(value: str, field: str = "password") -> Secret:
    """A password: 12 to 1024 characters, anything but control characters (a password file has one line an entry)."""
    if not 12 <= len(value) <= 1024:
        raise NameRefused(
            field,
            _("%(field)s: it has %(size)s characters. Choose one of 12 to 1024 characters."),
            size=len(value),
        )
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in value):
        raise NameRefused(field, _("%(field)s: it holds a line break or another control character. Choose one without."))
    return Secret(value)


def reason(value: str, field: str = "reason") -> str:
    """Free text, at most 2,000 characters; control and direction characters become spaces."""
    text = "".join(char if char == "\n" or not has_control(char) else " " for char in value[:5000].replace("\r\n", "\n")).strip()
    if len(text) > 2000 or len(value) > 5000:
        raise NameRefused(field, _("%(field)s: it has %(size)s characters. Say it in at most 2000."), size=len(value))
    return text


def system_identifier(value: str, field: str = "system_identifier") -> str:
    """A cluster's system identifier as PostgreSQL prints it, or nothing while it has none."""
    if not re.fullmatch(r"[0-9]{0,20}", value, re.ASCII):
        raise NameRefused(
            field, _("%(field)s: “%(value)s” is not a system identifier. Give the number that pg_controldata prints."), value=shown(value)
        )
    return value


def replication_slot(value: str, field: str = "slot") -> str:
    """The name of a replication slot, as PostgreSQL takes it."""
    if not re.fullmatch(r"[a-z0-9_]{1,63}", value, re.ASCII):
        raise NameRefused(
            field,
            _("%(field)s: “%(value)s” cannot be a slot. Use 1 to 63 small letters, digits and underscores."),
            value=shown(value),
        )
    return value


def slot_name(cluster: str, instance: str) -> str:
    """The physical slot that keeps WAL for `instance`: `pgr_<cluster>_<instance>`, shortened with a hash past 63 bytes."""
    name = f"pgr_{cluster}_{instance}".replace("-", "_")
    if len(name) <= IDENTIFIER_BYTES:
        return name
    digest = hashlib.sha256(f"{cluster}/{instance}".encode()).hexdigest()[:10]
    return f"{name[: IDENTIFIER_BYTES - 11]}_{digest}"


def image(value: str, field: str = "image") -> str:
    """An image by tag or digest, as `docker pull` takes it."""
    if len(value) <= 255 and _IMAGE.fullmatch(value):
        return value
    template = _("%(field)s: “%(value)s” is not the name of an image. Give it as postgres:16, or by digest as postgres@sha256:….")
    raise NameRefused(field, template, value=shown(value))


def container_name(value: str, field: str = "container") -> str:
    """The name of a container or of a network of the engine."""
    if _CONTAINER.fullmatch(value):
        return value
    template = _("%(field)s: “%(value)s” cannot be a name there. Use letters, digits, “_”, “.” and “-”, a letter or digit first.")
    raise NameRefused(field, template, value=shown(value))


def memory_size(value: str, field: str = "shm_size") -> str:
    """A size of memory as Compose takes it: 256m, 1g."""
    if _MEMORY.fullmatch(value):
        return value
    raise NameRefused(field, _("%(field)s: “%(value)s” is not a size. Give a number with k, m or g, such as 256m."), value=shown(value))


def user_and_group(value: str, field: str = "user") -> str:
    """`uid:gid` of a system user that may own PostgreSQL's data: not root, as which PostgreSQL does not run."""
    if _USER_AND_GROUP.fullmatch(value) and not value.startswith("0:"):
        return value
    template = _(
        "%(field)s: PostgreSQL cannot run as “%(value)s”. Give the server a system user of its own that is in the group “docker”, "
        "then check the server."
    )
    raise NameRefused(field, template, value=shown(value))
