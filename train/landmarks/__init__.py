"""Train, export and judge the network for landmarks, visibility and usable faces (`train.models.landmarks`)."""
