"""`flash bench`: what this machine does with whole sales, beside the ceilings measured in the same run.

`options` reads the command line, `course` says what is measured in which order, `load` is the generator (a lean
process of its own), `constant`, `group_commit` and `round_trips` are the ceilings, `books` re-reads the truth, `page`
and `table` show it. No figure ever decides the exit code; a wrong count does.
"""
