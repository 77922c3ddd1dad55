"""The fingerprint of a value: what bodies say they returned, compared with what was stored."""

import hashlib
import json


def fingerprint(value: object) -> str:
    """Return 16 hex digits that equal values share, whatever the order of their keys.

    `value` is plain JSON. Raises TypeError for what JSON cannot say.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # A lone surrogate has no UTF-8, and is nothing to fail at here.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
