"""The process beside a worker's pool: dispatch, rescue, leases, limits."""
