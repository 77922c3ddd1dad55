"""The judge: reads what was seen from outside, knows nothing of the platform."""
