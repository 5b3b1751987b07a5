"""A model of a sale's first seconds at any size: a million buyers, many hosts, a virtual clock, measured costs."""
