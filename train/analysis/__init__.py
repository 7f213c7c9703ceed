"""Why a network answers as it does: what needs gradients, features of many faces, or a training library."""
