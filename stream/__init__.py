"""Live side of maskcast: frames, transport, stages, sources, sinks, web, config, command line."""

__distribution__ = "maskcast"
