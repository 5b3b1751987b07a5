"""`scripts/bench`: what this machine does with whole sales, next to the limits measured in the same run.

`suite` is what is measured, in order; `load` the buyers; `baseline` and `ceilings` the limits; `oracle` reads the
truth; `findings` holds it all; `report` and `plots` show it. A slow figure never fails a run; a wrong count does.
"""
