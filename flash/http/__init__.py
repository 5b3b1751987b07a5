"""HTTP in plain values: requests in, responses out, and every connection kept from harming the others.

This folder knows no store and no rule of a sale.
"""
