"""A stand-in for oslo.serialization."""
