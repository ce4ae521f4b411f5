"""The public model classes: the network, with loading."""
