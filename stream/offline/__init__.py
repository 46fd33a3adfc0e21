"""The cores over annotated pictures, one after the other in this process: no sockets, no stages."""
