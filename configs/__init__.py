"""Presets of the analyzer, one YAML a use; `train/` holds one a training system."""
