"""How the figures came about, in the words of the report."""

METHOD = [
    """Buyers are a closed loop: each checks out the next item that nobody has asked for yet, buys it with the code,
    and goes on. When none is left they try items at random until they hear that the sale is sold out. A 503 is
    repeated after its <code>Retry-After</code>, a purchase under the same <code>Idempotency-Key</code>; the wait is
    latency too. A sale lasts from the first request to the last purchase heard of.""",
    """The open loop starts a visit every 1/rate seconds whatever became of the others. A checkout's latency counts
    from when it was meant to start, so waiting for a free connection is not left out.""",
    """The load generator is one process on the same machine, on raw sockets. The ceilings were measured in the same
    run: servers that answer a constant (as many processes as the service has for the web), one connection that
    commits the service's rows with the service's statements, round trips to Valkey, and syncs of the disk.""",
    """Percentiles are nearest ranks of all samples. CPU is user and system time from /proc in ticks of 10 ms; memory
    is the peak of the largest process of its kind, which for PostgreSQL includes shared buffers. Counts were re-
    read from the database after each sale and judged by <code>flash audit</code>. No figure is a pass or a fail.""",
]
