"""HTTP in plain values: requests in, responses out, and the guard round each connection. No store, no rule of a sale."""
