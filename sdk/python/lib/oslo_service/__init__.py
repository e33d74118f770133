"""A stand-in for oslo.service: its loops."""
