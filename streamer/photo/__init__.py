"""Group photos: read with limits, searched in tiles, summed up as a group.

reading     photos from disk, whatever they are     group    what a group of faces shows
analyst     a photo through the same stages as a frame     command    `streamer photo`: files, JSON, page
"""
