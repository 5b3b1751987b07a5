"""`python -m flash` does the same as the command `flash`."""

import sys

from flash.cli import main

if __name__ == "__main__":
    sys.exit(main())
