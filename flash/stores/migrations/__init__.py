"""The numbered steps that build the schema of `schema.sql`. `stores.migration` applies them.

A file is named `NNNN_what_it_does.sql` and begins with `-- requires: N`: the oldest schema version that a running
process must know to work with the result. Raise it only when the previous release could not. Once a step has been
released, its file never changes, not even a comment: a new step puts right what was wrong with it.

Also repeat the change in `schema.sql`, with a line for the step at its end; a test compares the two.
"""
