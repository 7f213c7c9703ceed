# An own ONNX network with labels of its own: python own_network.py network.onnx photo.jpg calm tense
import sys

import streamer

network, photo, *labels = sys.argv[1:]
classifier = streamer.convert_classifier(network, "own.xml", labels)
with streamer.Analyzer("photos", classifier=classifier) as analyzer:
    for face in analyzer.analyze(photo):
        print(face.label, face.to_dict()["probabilities"])
