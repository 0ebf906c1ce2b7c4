"""Security and robustness audit for classifiers."""
