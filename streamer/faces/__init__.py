"""Faces, from picture to network input. Everything here is shared by training and serving.

detect: detectors, which give canonical boxes. track: faces under stable ids, by motion (motion) and likeness
(likeness). landmarks: the 68 points of a face. regions: the seven regions of a face and the crop a network sees.
"""
