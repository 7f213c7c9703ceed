# The faces of photos as a table: python photo_table.py party.jpg holiday.jpg
import sys

import streamer

table = streamer.frame_table(streamer.analyze(sys.argv[1:]))
print(table[["name", "id", "label", "confidence"]])
table.to_csv("faces.csv", index=False)
