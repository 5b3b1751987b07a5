"""What each URL does. `routes` lists them all; every other module is one part of the shop."""
