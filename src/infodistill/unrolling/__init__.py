"""Training on the synthetic set as a differentiable function, and the derivatives of its steps."""
