"""Words to ids and back: tokenizers, vocabulary training, sentence splitting."""
