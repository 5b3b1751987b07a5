"""A flash-sale backend: every hour a sale of exactly 10,000 items, each sold once, by a cluster."""

__version__ = "0.2.0"
