"""The only package that opens a socket to a service; every way to fail comes back as a value."""

from wingbeat.transport.pool import HttpTransport

__all__ = ["HttpTransport"]
