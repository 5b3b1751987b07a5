"""Everything on one machine: `flash up`, its embedded stores, and `flash doctor`."""
