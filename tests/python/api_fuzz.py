"""Schemathesis against a running control plane: requests made from its own description, right and wrong ones, and what it answers compared with that."""

import sys

from schemathesis.cli import schemathesis

schemathesis(sys.argv[1:])
