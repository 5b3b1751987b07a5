"""Hostile input from every side, in bursts that follow from seeds: scripts/fuzz runs any number, test_fuzz.py a few."""
