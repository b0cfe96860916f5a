"""From float weights to codes: prune, quantize or cluster, and the chain of them."""
