"""The numbered steps by which the schema came to be what `schema.sql` shows. `stores.migration` applies them.

A file is named `NNNN_what_it_does.sql` and begins with `-- requires: N`: the oldest schema version that a running
process must know to work with the result. Raise it only when the previous release could not. Once a step has been
released, its file never changes; what was wrong with it is put right by the next one.
"""
