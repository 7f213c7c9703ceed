"""Pages that need nothing but a browser: pictures, tables and charts in one HTML file (extra `report`).

page        fills templates, with the chart library inside     timeline    a log as a page
"""
