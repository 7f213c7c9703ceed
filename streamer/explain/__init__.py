"""Why a network answers as it does, from what engines alone can give: no gradients, no training library.

maps            where it looked: activation and attention maps, live and laid over pictures
hidden_cells    what a hidden cell of a grid changes
face            all of it for one answer: maps, hidden cells, rules, what a face with that answer typically looks like
"""
