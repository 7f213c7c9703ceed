"""Group photos: read with limits, searched in tiles, summed up as a group.

reading     photos from disk, whatever they are       group       what a group of faces shows
analyst     a photo through the stages of a frame     attention   where a network looks in a whole photo
views       pictures, JSON values and the page        command     `streamer photo`
explain     `streamer explain`: why faces got their answers
"""
