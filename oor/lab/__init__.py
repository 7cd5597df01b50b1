"""Experiments on real stores: questions about durability, answered by trying."""
