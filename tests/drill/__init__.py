"""The drill: named faults of venues, network, disk and person, played against runners, and what is measured of each.

cases.py      the named faults, as data
measures.py   what the venues' own books say of a run: naked legs, ids, fills, false books
scene.py      one run: venues, quotes, an alert sink, and the runner, in this process or in one of its own
seeds.py      runs with random lists of faults, and the shortest list that still fails
table.py      the tables and the file of results
"""
