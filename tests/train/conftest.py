"""What the tests of training share is in copies.py, which also scripts import."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
