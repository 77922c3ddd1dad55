"""The same results three times: a table, JSON and a plot."""
