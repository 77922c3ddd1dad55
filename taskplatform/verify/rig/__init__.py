"""Servers, wires and workers that may be harmed without harm to anybody else."""
