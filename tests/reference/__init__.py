"""Slow, obvious implementations of what is compiled: the oracle of the property tests.

They are written from the RFCs' grammar with regular expressions, share no code with reginfo, and are never
imported by it.
"""
