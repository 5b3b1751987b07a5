"""HTTP in plain values: requests in, responses out, and the guard round each connection.

It knows no store and no rule of a sale.
"""
