"""The tasks in training, each from request to model file."""
