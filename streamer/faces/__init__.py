"""Faces, from picture to network input; training and serving share all of it.

detect: detectors, which give canonical boxes. track: faces under stable ids, by where they move (motion) and how they
look (likeness). landmarks: the 68 points of a face. visibility: which parts of it can be seen. regions: the seven
regions of a face, and the crop that a network sees. boxes: geometry.
"""
