"""Compiled hot paths of reginfo; import them through reginfo.fast."""
