"""Models behind an address: the Open Inference Protocol v2, asked with patience and within a budget."""
