"""Data, models, fitting, evaluation and export of the networks that the analyzer ships."""
