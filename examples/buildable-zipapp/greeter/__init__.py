"""A server that greets."""
