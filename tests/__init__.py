"""Tests. `tests.stores` starts the real stores that they run on."""
