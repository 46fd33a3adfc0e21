"""The commands of `maskcast`: a module each, with `register(app)`. Heavy imports are late."""
