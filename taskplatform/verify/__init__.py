"""Verifying pipelines and the platform under faults, judged from outside."""
