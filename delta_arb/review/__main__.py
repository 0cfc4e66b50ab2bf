"""`python -m delta_arb.review`."""

import sys

from delta_arb.review.review import main

if __name__ == "__main__":
    sys.exit(main())
