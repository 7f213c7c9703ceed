"""What one step of training sees: scenes painted from labelled pictures, placed, and damaged as cameras do."""
