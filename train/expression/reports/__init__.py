"""What is said of runs of an expression network: of one, of several seeds or folds, of several side by side."""
