"""What one step of training a landmark network sees: faces with points, taught or marked, drawn with occluders."""
