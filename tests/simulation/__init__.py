"""A whole cluster in one process, on a clock that is driven, with faults that follow from a seed.

Real: the API handlers, the purchase router and client, the purchase server, the elector, the actor, the scheduler,
admission. Twins: PostgreSQL and Redis (`flash.testing.twins`), and the network between them and the hosts.

    plan        what a seed stands for: sizes, delays, and which fault happens when
    clock       virtual time
    network     the way from a host to a store and back: delayed, cut, lost on either; hosts that pause or die
    stores      PostgreSQL and Redis as one host reaches them
    hosts       inventory and web processes, put together from the real parts
    releases    a host of the next release, to which this one's messages are the old ones
    cluster     all of them; who has ended is started again
    faults      what each fault does to a cluster
    buyers      what people do: check out, buy, repeat, leave, ask for the receipt
    timeline    what was true in the database, and when
    spells      from when to when something was so
    sightings   what happened in Redis, counted
    checks      what was said, compared with what was true
    world       one run of one plan
    seeds       many runs; shrinking and showing what failed
    mutants     wrong programs, each of which must be caught; more of them in rpc_mutants
"""
