"""Tests of the train package, on toy data made here."""
