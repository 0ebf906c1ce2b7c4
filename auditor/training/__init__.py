"""How subjects are made: optimizers, architectures and the training loop."""
