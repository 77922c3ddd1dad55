"""The chaos ring: real workers and servers under faults, judged from outside."""
