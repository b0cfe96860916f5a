"""Training on data: the networks of the zoo from their first weights."""
