"""The table of `triptych bench attention`, whose options it takes."""

import sys

from triptych.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "attention", *sys.argv[1:]]))
