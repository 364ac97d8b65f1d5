"""Small neural networks with honest probabilities, trained at hardware speed."""
