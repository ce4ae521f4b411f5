"""Devices in a mesh, one table of sharding rules, placement of arrays."""
