"""The network for expressions: its configuration, training, export, model card and judgement."""
