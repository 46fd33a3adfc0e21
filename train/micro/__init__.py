"""The micro models: their data, recipes and measurements."""
