"""A broken probe: what it imports is not there."""

import auditor_trouble_dependency

Missing = auditor_trouble_dependency.Missing
