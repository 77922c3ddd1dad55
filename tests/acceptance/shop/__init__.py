"""A user's project as it was before it knew the platform, with the platform added to its app."""
