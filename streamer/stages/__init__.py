"""What the threads of the pipeline call, one after another: perceive, express, hide; ask is how they ask a network."""
