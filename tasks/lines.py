"""What a log line may hold. Everything that comes from a machine is hostile: masked, made inert, and cut here. Pure."""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator
from json import dumps
from shlex import quote as shell_quote
from urllib.parse import quote as url_quote
from urllib.parse import quote_plus

from clusters.secrets import MASK, Secret

#: A shorter secret is not masked: it would take half of every line with it. The forms accept none that is.
SECRET_LENGTH = 4
#: Ends a line that was cut; machines' lines that `clusters.hosts` has cut end so too.
CUT = " […cut]"

# Escape sequences that are complete are dropped; what is left of ESC is shown as a glyph.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC: titles, links
    r"|\x1b[ -/]*[0-OQ-WYZ`-~]"  # two-byte sequences
)
_ASCII_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SCRAM = re.compile(r"SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=$:]+")


class Masker:
    """Replaces known secrets by `********`, also written in base64, hexadecimal, URL, SQL, JSON and shell form."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        if len(secret.reveal()) < SECRET_LENGTH:
            return
        forms = {*self._forms, *_forms(secret.reveal())}
        self._forms = tuple(sorted(forms, key=len, reverse=True))
        self._pattern = re.compile("|".join(_expression(form) for form in self._forms))

    def __call__(self, text: str) -> str:
        if "SCRAM-SHA-256$" in text:
            text = _SCRAM.sub(MASK, text)
        return self._pattern.sub(MASK, text) if self._pattern else text

    def end(self, text: str) -> str:
        """Mask the beginning of a secret at the end of a text that was cut there."""
        for form in self._forms:
            for length in range(min(len(form) - 1, len(text)), SECRET_LENGTH - 1, -1):
                if text.endswith(form[:length]):
                    return text[:-length] + MASK
        return text


def clean_lines(text: str | bytes, mask: Masker, max_bytes: int) -> list[str]:
    """The lines of a text as they may be stored and shown, each at most `max_bytes` bytes of UTF-8. "" is one empty line."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return [_clean_line(line.removesuffix("\r"), mask, max_bytes) for line in decoded.split("\n")]


def clean_line(text: str, mask: Masker, max_bytes: int) -> str:
    """The text as one line."""
    return _clean_line(" ".join(text.split("\n")), mask, max_bytes)


def inert(text: str) -> str:
    """The text without anything that a terminal or a browser would act upon: invisible characters become visible ones."""
    text = _SEQUENCES.sub("", text)
    if text.isascii():
        return _ASCII_CONTROLS.sub(lambda found: _shown(found.group()), text)
    return "".join(_shown(char) if unicodedata.category(char) in _INVISIBLE else char for char in text)


def _clean_line(line: str, mask: Masker, max_bytes: int) -> str:
    cut = len(line) > 8 * max_bytes  # so that a line of 100 MB costs no more than one of 64 KiB
    text = mask(inert(mask(line[: 8 * max_bytes])))
    if text.endswith(CUT):
        cut, text = True, text.removesuffix(CUT)
    encoded = text.encode()
    if not cut and len(encoded) <= max_bytes:
        return text
    room = max_bytes - len(CUT.encode())
    return mask.end(encoded[:room].decode("utf-8", "ignore")).encode()[:room].decode("utf-8", "ignore") + CUT


def _shown(char: str) -> str:
    code = ord(char)
    if char == "\t":
        return "    "
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"⟨U+{code:04X}⟩"


def _forms(value: str) -> Iterator[str]:
    raw = value.encode("utf-8", "surrogatepass")
    yield value
    yield inert(value)
    yield value.replace("'", "''")
    yield re.sub(r"([\\'\":])", r"\\\1", value)
    yield dumps(value)[1:-1]
    yield repr(value)[1:-1]
    yield shell_quote(value).removeprefix("'").removesuffix("'")
    yield url_quote(value, errors="surrogatepass")
    yield url_quote(value, safe="", errors="surrogatepass")
    yield quote_plus(value, errors="surrogatepass")
    yield raw.hex()
    for core in _base64_cores(raw):
        yield core
        yield core.translate({ord("+"): "-", ord("/"): "_"})


def _base64_cores(raw: bytes) -> Iterator[str]:
    """What base64 of any text around the secret must contain, for each of the three alignments."""
    for shift in range(3):
        core = b64encode(b"\0" * shift + raw).decode()[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
        if len(core) > SECRET_LENGTH:
            yield core


def _expression(form: str) -> str:
    """Hexadecimal digits match in both cases, alone or after the % of an URL."""
    if "%" in form or re.fullmatch(r"[0-9a-f]+", form):
        return f"(?i:{re.escape(form)})"
    return re.escape(form)
