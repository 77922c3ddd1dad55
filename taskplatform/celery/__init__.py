"""The Celery side: the app, shifts, step tasks, the doorbell."""
