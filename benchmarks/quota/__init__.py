"""Quota bench: the production engine in virtual time against servers that enforce limits in every way known to us."""
