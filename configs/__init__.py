"""The shipped configurations; installed as bert_jax.configs."""
