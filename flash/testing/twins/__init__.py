"""The stores in memory. Each passes the contract tests of the real one, and can fail before or after a call."""
