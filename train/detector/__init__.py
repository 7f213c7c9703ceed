"""Our own face detector: its data are made, its labels come from teachers, its network is small enough to ship."""
