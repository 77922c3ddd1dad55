"""Decode and clean text of unknown origin."""

import codecs
import re
from email.message import Message

DECLARED = re.compile(
    rb"""<\?xml[^>]{0,100}?encoding\s*=\s*["']([\w.:-]{1,40})|<meta[^>]{0,200}?charset\s*=\s*["']?([\w.:-]{1,40})""",
    re.IGNORECASE,
)
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Python also knows utf-7, unicode_escape and the like, which hide markup from who looks for it.
WEB_ENCODING = re.compile(
    r"(utf-?8|utf-?16(-?[lb]e)?|us-ascii|ascii|latin-?1|iso-?8859-\d{1,2}|windows-?125[0-8]"
    r"|cp125[0-8]|koi8-[ru]|gb2312|gbk|gb18030|big5(-hkscs)?|shift[_-]jis|euc-(jp|kr)|macintosh)",
    re.IGNORECASE,
)
# What neither JSON nor Postgres can store, and line noise.
UNWANTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def decode(body: bytes, content_type: str) -> str:
    """Decode by byte order mark, header or declaration in the text, else as UTF-8 or Windows-1252.

    Never fails: what cannot be decoded becomes U+FFFD.
    """
    for bom, name in BOMS:
        if body.startswith(bom):
            return body.decode(name, "replace")
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    charset = message.get_param("charset")
    declared = DECLARED.search(body[:2_000])
    found = (declared[1] or declared[2]).decode("ascii", "replace") if declared else ""
    for name in (charset if isinstance(charset, str) else "", found):
        if WEB_ENCODING.fullmatch(name):
            try:
                return body.decode(name, "replace")
            except LookupError:
                continue
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("windows-1252", "replace")


def clean(text: str, longest: int) -> str:
    """Drop what cannot be stored, and cut to so many characters."""
    return UNWANTED.sub("", text[:longest]).strip()


def one_line(text: str, longest: int) -> str:
    return " ".join(clean(text, longest).split())
