"""Expression networks: configuration, training, evaluation, export and model card."""
