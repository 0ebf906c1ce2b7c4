"""An optimizer whose module needs a package that is not there."""

import auditor_trouble_dependency  # noqa: F401
