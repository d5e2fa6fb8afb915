"""The only package that opens a socket to a service; every way to fail comes back as a value."""

from wingbeat.transport.pool import HttpTransport, check_base_url

__all__ = ["HttpTransport", "check_base_url"]
