"""A23, A24: what hostile bodies cost, measured in a process of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 5.0
MOST_BYTES = 256 * 1024 * 1024

# The process says what it cost, its interpreter and libraries included.
_PROGRAM = """
import contextlib, gzip, io, json, socket, sys, time, zipfile
from pipelines.scraping.body import read_body
from pipelines.scraping.extract import extract
from taskplatform import Permanent

def refuse(*_):
    raise AssertionError("the network or a file was asked for")

HEAD, TAIL = "<rss version='2.0'><channel><title>T</title><item>", "</item></channel></rss>"
LAUGHS = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 30))

def nested(times, layer=bytes(10_000_000)):
    for _ in range(times):
        layer = gzip.compress(layer)
    return layer

def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(50_000_000))
    return file.getvalue()

BODIES = {
    "laughs": (f"<!DOCTYPE r [<!ENTITY l0 'ha'>{LAUGHS}]>{HEAD}&l29;{TAIL}", "text/xml"),
    "laughs in a page": (f"<!DOCTYPE r [<!ENTITY l0 'ha'>{LAUGHS}]><p>&l29;</p>", "text/html"),
    "quadratic": (
        f"<!DOCTYPE r [<!ENTITY a '{'a' * 100_000}'>]>{HEAD}{'&a;' * 100_000}{TAIL}", "text/xml"
    ),
    "external entity": (
        f"<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>{HEAD}&x;{TAIL}", "text/xml"
    ),
    "parameter entity": (
        f"<!DOCTYPE r [<!ENTITY % x SYSTEM 'http://127.0.0.1:1/x.dtd'> %x;]>{HEAD}{TAIL}",
        "text/xml",
    ),
    "DTD": (f"<!DOCTYPE r SYSTEM 'http://127.0.0.1:1/x.dtd'>{HEAD}{TAIL}", "text/xml"),
    "XInclude": (
        f"{HEAD}<title><xi:include xmlns:xi='http://www.w3.org/2001/XInclude' parse='text' "
        f"href='file:///etc/passwd'/></title>{TAIL}", "text/xml"
    ),
    "XInclude in a page": (
        "<html xmlns:xi='http://www.w3.org/2001/XInclude'><body><p>text of the page</p>"
        "<xi:include parse='text' href='file:///etc/passwd'/></body></html>", "text/html"
    ),
    "stylesheet": (
        f"<?xml-stylesheet href='http://127.0.0.1:1/x.xsl' type='text/xsl'?>{HEAD}{TAIL}",
        "text/xml",
    ),
    "a million tags": (HEAD + "<a>" * 1_000_000, "text/xml"),
    "a million tags in a page": ("<div>" * 1_000_000, "text/html"),
    "mixed encodings": (
        b"\\xff\\xfe"
        + f"<?xml version='1.0' encoding='utf-7'?>{HEAD}&lt;{TAIL}".encode("utf-16-le")
        + b"\\xfe\\xff\\x00" + b"\\xc3\\x28" * 500_000, "text/xml; charset=utf-32"
    ),
    "nested gzip": (lambda: read_body([nested(3)], "gzip", 10_000_000), "text/html"),
    "gzip bomb": (lambda: read_body([gzip.compress(bytes(100_000_000))], "gzip", 10_000_000), ""),
    "zip": (zipped, "text/html"),
    "10 MB of angles": ("<" * 10_000_000, "text/html"),
}

def go():
    body, content_type = BODIES[sys.argv[1]]
    if callable(body):
        body = body()
    if isinstance(body, str):
        body = body.encode()
    found = extract(body, content_type, "http://site.example/")
    assert "root:" not in repr(found)

began = time.process_time()
socket.socket.connect = refuse
socket.getaddrinfo = refuse
with contextlib.suppress(Permanent):
    go()
spent = time.process_time() - began
# Not ru_maxrss: across exec it remembers the memory of whoever started this.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([spent, int(status["VmHWM"].split()[0]) * 1024]))
"""
BODIES = [
    line.split('"')[1]
    for line in _PROGRAM.partition("BODIES = {")[2].partition("\n}")[0].splitlines()
    if line.startswith('    "')
]


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_costs_little_and_asks_for_nothing(name: str) -> None:
    """Below 256 MB and 5 s of CPU, the interpreter's own included; no file, no network."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seconds, size = json.loads(done.stdout)
    assert seconds < MOST_SECONDS
    assert size < MOST_BYTES, f"{size:,} bytes"
