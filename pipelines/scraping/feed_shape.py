"""Look over a feed's XML before the real parser does, and cut what is too long."""

from xml.parsers import expat

from taskplatform import Permanent

DEEPEST = 100
MOST_ATTRIBUTES = 64
MOST_ELEMENTS_IN_ITEM = 5_000
ENOUGH_ELEMENTS = 100_000
MOST_ITEMS = 3_000
LONGEST = 3_000_000
# The lenient parser is several times slower, and builds on regular expressions.
LONGEST_DAMAGED = 500_000
MOST_TAGS_DAMAGED = 20_000
ITEMS = frozenset({"item", "entry"})


class HostileFeed(Permanent):
    """The feed declares entities or is shaped to exhaust its reader."""


class _Enough(Exception):
    """Enough items were seen; the rest is cut off."""


class Shape:
    """Walk through the XML once, with constant memory but for the open elements."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.elements = 0
        self.elements_before = 0
        self.items = 0
        self.cut: int | None = None
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = self._entity

    def walk(self, data: bytes) -> bool:
        """Return whether the data is well-formed, up to the cut if there is one."""
        try:
            self._parser.Parse(data, True)
        except _Enough:
            return True
        except expat.ExpatError:
            return False
        self.cut = None
        return True

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self.cut is not None:
            raise _Enough
        self.open.append(name)
        self.elements += 1
        if len(self.open) > DEEPEST:
            raise HostileFeed(f"the feed nests elements more than {DEEPEST} deep")
        # feedparser compares each attribute, tag and author with all others of its element or item.
        if len(attributes) > MOST_ATTRIBUTES:
            raise HostileFeed(f"the feed has an element of more than {MOST_ATTRIBUTES} attributes")
        if self.elements - self.elements_before > MOST_ELEMENTS_IN_ITEM:
            raise HostileFeed(f"the feed has an item of more than {MOST_ELEMENTS_IN_ITEM} elements")

    def _end(self, name: str) -> None:
        if self.cut is not None:
            return
        self.open.pop()
        if name in ITEMS:
            self.items += 1
            self.elements_before = self.elements
            # The index is where the end tag begins.
            index = self._parser.CurrentByteIndex
            if self.items >= MOST_ITEMS or self.elements >= ENOUGH_ELEMENTS or index > LONGEST:
                self.cut = index

    def _entity(self, *_: object) -> None:
        raise HostileFeed("the feed declares entities of its own")


def safe_feed(data: bytes) -> tuple[bytes, bool]:
    """Return the feed, UTF-8, fit to be parsed, and whether items were cut off.

    Raises HostileFeed where no limit makes it fit.
    """
    shape = Shape()
    if shape.walk(data):
        if (shape.cut or len(data)) > 2 * LONGEST:
            raise HostileFeed("the feed holds a single item of several megabytes")
        return (data, False) if shape.cut is None else (_closed(data, shape.cut, shape.open), True)
    if b"<!entity" in data.lower():
        raise HostileFeed("the feed declares entities of its own")
    if len(data) > LONGEST_DAMAGED or data.count(b"<") > MOST_TAGS_DAMAGED:
        raise HostileFeed("the feed is damaged and too long to be read leniently")
    return data, False


def _closed(data: bytes, cut: int, still_open: list[str]) -> bytes:
    end = data.index(b">", cut) + 1
    return data[:end] + "".join(f"</{name}>" for name in reversed(still_open)).encode()
