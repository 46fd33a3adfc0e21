"""The commands of `maskcast`: a module each, with `register(app)`, and the options they share.

Heavy imports are late.
"""
