"""Files of weights ↔ named arrays; knows no model class."""
