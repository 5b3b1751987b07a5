"""`scripts/drill`: a cluster of real processes and stores is broken on purpose while real buyers buy, and then judged.

It breaks only what it has started itself, on this machine, in a temporary directory. The service never imports it.
"""
