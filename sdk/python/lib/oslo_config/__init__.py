"""A stand-in for oslo.config: the options that are registered are those of the
manifest, and have the values that the operator's files give them."""
