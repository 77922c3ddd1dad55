"""The platform beside Celery's own chain, on this machine, in this minute."""
