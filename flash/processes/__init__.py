"""The processes of a cluster: each module is the root of one, and wires it together."""
