"""Faults: what can be done to a bench, one class each, by the name under which it is logged."""
