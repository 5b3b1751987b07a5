"""The load generator: a process of its own, one thread on raw sockets. It knows HTTP and buyers, nothing of flash."""
