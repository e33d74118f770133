"""A stand-in for oslo.log: what is logged goes to the task's log."""
