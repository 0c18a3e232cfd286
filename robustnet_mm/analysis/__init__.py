"""Looking inside woven networks, and comparing them."""
