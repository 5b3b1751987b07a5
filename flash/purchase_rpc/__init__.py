"""One conversation through Redis: a web process asks, the leader of the sale answers."""
