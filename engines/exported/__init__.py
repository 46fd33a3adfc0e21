"""The tracker's and the detector's parts on exported networks: the same faces, other engines."""
