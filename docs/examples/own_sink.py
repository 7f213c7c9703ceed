# Every face of a video in a database: python own_sink.py clip.mp4 faces.db
import sqlite3
import sys

import streamer

with sqlite3.connect(sys.argv[2]) as database:
    database.execute("CREATE TABLE faces (time REAL, id INTEGER, label TEXT, confidence REAL)")
    for result in streamer.watch(sys.argv[1]):
        rows = [(result.frame.time, face.track_id, face.label, face.confidence) for face in result.faces]
        database.executemany("INSERT INTO faces VALUES (?, ?, ?, ?)", rows)
