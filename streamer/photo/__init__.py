"""Group photos: read with limits, searched in tiles, summed up as a group.

decode      photos from disk, within limits           group       what a group of faces shows
analyst     a photo through the stages of a frame     attention   where a network looks in a whole photo
render      pictures, JSON values and the page
"""
