"""The table of `triptych bench train --case text`, whose options it takes."""

import sys

from triptych.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "train", "--case", "text", *sys.argv[1:]]))
