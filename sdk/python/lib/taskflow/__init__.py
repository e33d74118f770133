"""A stand-in for TaskFlow: the classes that tasks are made of."""
