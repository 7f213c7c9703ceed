"""Tests: media and partners are made here; marks say what else is needed."""
