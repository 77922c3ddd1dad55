"""The platform beside others that do the same, on this machine, in this minute."""
