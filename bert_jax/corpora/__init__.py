"""Text in: documents from TFDS datasets, whatever their origin."""
