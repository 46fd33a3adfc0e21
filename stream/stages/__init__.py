"""The shells of the stages: they know transport and order, the cores they carry know models."""
