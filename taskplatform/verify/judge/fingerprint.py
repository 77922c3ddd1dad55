"""What two equal JSON values have in common."""

import hashlib
import json


def fingerprint(value: object) -> str:
    """Sixteen hexadecimal digits that equal JSON values share, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
