"""The network as single-device code: it knows no mesh, no loss, no file."""
