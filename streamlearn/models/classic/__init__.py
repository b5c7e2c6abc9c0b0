"""Classic networks: Grossberg clusters, Hamming net with MaxNet, von der Malsburg's sheet, cognitron."""
