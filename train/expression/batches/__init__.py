"""What one step of training sees: rows of a data set, cut as the network sees them, changed and shown in part."""
