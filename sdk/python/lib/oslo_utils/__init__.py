"""A stand-in for oslo.utils, as far as tasks of Masakari use it."""
