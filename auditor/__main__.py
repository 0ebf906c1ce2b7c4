"""python -m auditor: the command line."""

import sys

if sys.path and not sys.flags.safe_path:
    del sys.path[0]  # the working folder, which `python -m` puts there: what lies in it is no part of us

from auditor.cli import main  # only now, so that nothing is imported from there

main()
