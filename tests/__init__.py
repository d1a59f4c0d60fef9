"""Tests of reginfo; a package, so that helpers import as `tests.x`."""
