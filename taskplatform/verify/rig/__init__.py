"""The rig: servers behind proxies, and workers, that may be harmed."""
