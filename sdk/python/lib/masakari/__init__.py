"""A stand-in for Masakari: what its tasks, and those in their style, import."""
