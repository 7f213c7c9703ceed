"""Why a network answers as it does, from what engines alone can give: no gradients, no training library.

maps        where it looked: activation and attention maps, live and laid over pictures
"""
