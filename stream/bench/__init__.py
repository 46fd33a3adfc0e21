"""Latency that an engineer believes: from the intended time, with tails, drops and noise.

`measure` runs the real pipeline and collects what a subscriber received; `statistics` is pure;
`figures` turns the one into the other; `document`, `page`, `trace`, `samples` write it down;
`compare` says what changed beyond noise.
"""
