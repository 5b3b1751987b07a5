"""Tests. `flash.testing.stores` starts the real stores that they run on."""
